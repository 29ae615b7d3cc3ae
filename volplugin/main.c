/* SPDX-License-Identifier: BSD-3-Clause */
/* Start, a signal, the end. What is mounted stays mounted. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/base/os.h"
#include "volplugin/plugin.h"

static struct plugin plugin;

/* In order: nobody is answered by a plugin that is half gone. */
static void end(struct http *h)
{
    pthread_mutex_lock(&plugin.lock);
    plugin.stop = true; /* Mounts that wait are given up */
    pthread_cond_broadcast(&plugin.changed);
    pthread_mutex_unlock(&plugin.lock);
    http_stop(h);
    plugin_stop(&plugin);
}

int main(int argc, char **argv)
{
    char why[VOL_WHY_BYTES];
    struct options o;
    struct http *h;
    sigset_t set;
    int sig;

    int r = options_parse(argc, argv, &o);
    if (r != 0)
        return r == 1 ? 0 : 2;
    signal(SIGPIPE, SIG_IGN);
    kt_path_widen();
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads inherit it */
    r = plugin_start(&plugin, &o, why, sizeof(why));
    if (r == 0 && http_start(&plugin, &h, why, sizeof(why)) < 0) {
        plugin_stop(&plugin);
        r = -1;
    }
    if (r < 0) {
        fprintf(stderr, "kenter-volplugin: %s.\n", why);
        return 1;
    }
    kt_log(KT_LOG_INFO, "ready", "socket=%s attach=%s", o.socket,
           plugin.way ? plugin.way->name : plugin.attach->name);
    sigwait(&set, &sig);
    kt_log(KT_LOG_INFO, "stopping", "signal=%d", sig);
    end(h);
    return 0;
}

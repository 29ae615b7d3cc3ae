/* SPDX-License-Identifier: BSD-3-Clause */
/* Talking to a node itself. */
#ifndef KT_CLI_REACH_H
#define KT_CLI_REACH_H

#include "cli/cli.h"

/* Connects to the replicator that keeps `store`, at one of its addresses (an
 * array of strings): by a unix socket of this machine first. 0, -ENOMEM, or
 * -EAGAIN with half a sentence in ret_why. Ownership: kt_rpc_close, free. */
int cli_reach(const json_t *addresses, const struct kt_id *store,
              const struct kt_msg *hello, unsigned timeout_ms,
              struct kt_rpc **ret_r, char *ret_why, size_t size) KT_MUST_CHECK;
/* One request to the node of node-ls's or node-inspect's description. 0; or
 * < 0 with half a sentence in ret_why. Takes the reference of req. */
int cli_node_try(const json_t *node, const struct kt_id *cluster, json_t *req,
                 unsigned timeout_ms, json_t **ret_reply, char *ret_why,
                 size_t size) KT_MUST_CHECK;

#endif

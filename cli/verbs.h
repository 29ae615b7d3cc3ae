/* SPDX-License-Identifier: BSD-3-Clause */
/* One table per object; an entry with object NULL ends each. */
#ifndef KT_CLI_VERBS_H
#define KT_CLI_VERBS_H

#include "cli/cli.h"

extern const struct cli_verb cli_sandbox_verbs[];
extern const struct cli_verb cli_volume_verbs[];
extern const struct cli_verb cli_node_verbs[];
extern const struct cli_verb cli_status_verbs[];
extern const struct cli_verb cli_doctor_verbs[];
extern const struct cli_verb cli_hub_verbs[];
extern const struct cli_verb cli_chain_verbs[];
extern const struct cli_verb cli_recover_verbs[];
extern const struct cli_verb cli_scrub_verbs[];

/* verify.c: `kenter volume verify` */
int cli_volume_verify(struct cli *c);

/* attach.c: `kenter volume attach` and `detach` */
int cli_volume_attach(struct cli *c);
int cli_volume_detach(struct cli *c);
extern const struct cli_opt cli_volume_attach_opts[], cli_volume_detach_opts[];

#endif

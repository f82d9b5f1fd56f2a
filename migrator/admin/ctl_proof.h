/* ctl_proof: `report NAME --proof`: prints the proof of an account (migrator/account/proof.h) if it lies on this host and is the one
 * whose SHA-256 was told with the flip. */
#ifndef IMAPFERRY_CTL_PROOF_H
#define IMAPFERRY_CTL_PROOF_H

#include "actions.h"

/* account: what the verb answered. With json one object says where the proof lies and whether it is whole; else the file itself is
 * printed, and nothing of it unless it is whole. */
enum action_rc ctl_proof(const struct conf *conf, const json_t *account, bool json);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a person can be told when packets vanish: which tunnel lost them and why, and who sends packets
 * that lead to no tunnel. Only packets that end badly come here. Knows nothing of packets but their
 * outcome.
 */
#ifndef SIXWAY_FAULTS_H
#define SIXWAY_FAULTS_H

#include "counting.h"
#include "limits.h"
#include "maps.h"

enum subject_kind {
	SUBJECT_NOBODY = 0,
	SUBJECT_TUNNEL, /* slot in `tunnels` */
	SUBJECT_TUNNEL_V4V6, /* in `tunnels_v4v6` */
};

/* Whose packet it was, as far as that came out. */
struct subject {
	__u32 slot;
	__u32 kind; /* enum subject_kind */
};

/* Nothing is held against a slot before it is somebody's: they would inherit it. */
static __always_inline void concern(struct subject *subject, enum subject_kind kind, __u32 slot,
				    __u16 flags)
{
	subject->slot = slot;
	subject->kind = flags & TUNNEL_ASSIGNED ? kind : SUBJECT_NOBODY;
}

/* Why a tunnel that is unassigned, disabled or detached takes no packets. */
static __always_inline int closed_as(__u16 flags)
{
	if (!(flags & TUNNEL_ASSIGNED))
		return OUTCOME_OUT_UNDELEGATED;
	return flags & TUNNEL_DISABLED ? OUTCOME_OUT_DISABLED : OUTCOME_OUT_DETACHED;
}

/* The same outcome, once the sender was told. */
static __always_inline int told(int outcome)
{
	return outcome + (OUTCOME_OUT_UNDELEGATED_TOLD - OUTCOME_OUT_UNDELEGATED);
}
_Static_assert(OUTCOME_OUT_DISABLED_TOLD - OUTCOME_OUT_DISABLED ==
			       OUTCOME_OUT_UNDELEGATED_TOLD - OUTCOME_OUT_UNDELEGATED &&
		       OUTCOME_OUT_DETACHED_TOLD - OUTCOME_OUT_DETACHED ==
			       OUTCOME_OUT_UNDELEGATED_TOLD - OUTCOME_OUT_UNDELEGATED,
	       "told() counts on the order");

#define NO_FAULT (-1)

/* As which fault an outcome counts against its tunnel. */
static __always_inline int fault_of(int outcome)
{
	switch (outcome) {
	case OUTCOME_IN_WRONG_ENDPOINT:
		return FAULT_WRONG_ENDPOINT;
	case OUTCOME_IN_WRONG_INTERFACE_ID:
	case OUTCOME_IN_GATEWAY_SOURCE:
		return FAULT_WRONG_SOURCE;
	case OUTCOME_IN_TO_GATEWAY:
		return FAULT_TO_GATEWAY;
	case OUTCOME_IN_DETACHED:
	case OUTCOME_IN_DISABLED:
		return FAULT_CLOSED_IN;
	case OUTCOME_IN_CONGESTION_LOST:
		return FAULT_CONGESTION;
	case OUTCOME_IN_FILTERED:
		return FAULT_FILTERED;
	case OUTCOME_IN_RATE_LIMITED:
		return FAULT_RATE_IN;
	case OUTCOME_OUT_RATE_LIMITED:
		return FAULT_RATE_OUT;
	case OUTCOME_OUT_TOO_BIG:
	case OUTCOME_OUT_TOO_BIG_QUIET:
		return FAULT_TOO_BIG;
	case OUTCOME_OUT_DISABLED:
	case OUTCOME_OUT_DISABLED_TOLD:
	case OUTCOME_OUT_DETACHED:
	case OUTCOME_OUT_DETACHED_TOLD:
	case OUTCOME_OUT_NOT_YET_HEARD:
		return FAULT_CLOSED_OUT;
	case OUTCOME_OUT_WRONG_INTERFACE_ID:
	case OUTCOME_OUT_TO_GATEWAY:
		return FAULT_WRONG_DESTINATION;
	case OUTCOME_IN_STRIP_FAILED:
	case OUTCOME_OUT_PUSH_FAILED:
		return FAULT_OTHER;
	default:
		return NO_FAULT;
	}
}

/* Counts a packet that was dropped against its tunnel, if it had one. */
SUBPROGRAM int blame(const struct subject *subject, int outcome)
{
	struct tunnel_faults *of_tunnel;
	int fault = fault_of(outcome);
	__u32 slot;

	if (!subject || subject->kind == SUBJECT_NOBODY || fault < 0 || fault >= FAULT_COUNT)
		return 0;
	slot = subject->slot;
	of_tunnel = subject->kind == SUBJECT_TUNNEL ? bpf_map_lookup_elem(&faults, &slot) :
						      bpf_map_lookup_elem(&faults_v4v6, &slot);
	if (!of_tunnel)
		return 0;
	__sync_fetch_and_add(&of_tunnel->packets[fault], 1);
	of_tunnel->last_tick = now_ticks();
	of_tunnel->last_outcome = outcome;
	return 0;
}

/* Remembers a packet that led to no tunnel of the endpoint that it came from. Returns `outcome`. */
SUBPROGRAM int remember_stray(const struct config *settings, __u64 endpoint, __u64 source_high,
			      __u64 source_low, int outcome)
{
	struct stray *stray;
	__u32 at;

	if (!settings)
		return outcome;
	at = place_of(settings, endpoint, STRAYS_BITS);
	stray = bpf_map_lookup_elem(&strays, &at);
	if (!stray)
		return outcome;
	if (stray->endpoint != endpoint) {
		stray->endpoint = endpoint;
		stray->packets = 0;
	}
	stray->source_high = source_high;
	stray->source_low = source_low;
	stray->last_tick = now_ticks();
	if (stray->packets < 0xffff)
		stray->packets++;
	stray->outcome = outcome;
	return outcome;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the counters of both ends count, and the clock of their times. Knows no maps. */
#ifndef SIXWAY_COUNTING_H
#define SIXWAY_COUNTING_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

/* A super-packet counts as the packets that it came as. */
static __always_inline __u32 packets_in(struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/* The coarse clock costs a third of the exact one, and a tick is longer than its error. */
static __always_inline __u32 now_ticks(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() >> TICK_SHIFT);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the counters of both ends count, and the clock of their times. */
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

/* What one CPU remembers from packet to packet; nobody else reads it. */
struct cpu_state {
	__u64 jiffies; /* when the clock was read last */
	__u64 ticks; /* what it said */
	__u64 random; /* of a congruential generator (Knuth's MMIX) */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpu_states SEC(".maps");

/* The coarse clock moves with the jiffies but costs ten times as much to read, a twentieth of what is
 * spent on a packet. So it is read once a jiffy. */
static __always_inline __u32 now_ticks(void)
{
	__u64 jiffies = bpf_jiffies64();
	__u32 key = 0;
	struct cpu_state *last = bpf_map_lookup_elem(&cpu_states, &key);

	if (!last)
		return (__u32)(bpf_ktime_get_coarse_ns() >> TICK_SHIFT);
	if (last->jiffies != jiffies || !last->ticks) {
		last->jiffies = jiffies;
		last->ticks = bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
	}
	return (__u32)last->ticks;
}

/* For the identification of outer headers, which is to differ from that of the packets around it:
 * good enough for that, and without a call. */
static __always_inline __u16 next_identification(void)
{
	__u32 key = 0;
	struct cpu_state *state = bpf_map_lookup_elem(&cpu_states, &key);

	if (!state || !state->random) {
		__u64 first = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1;

		if (state)
			state->random = first;
		return (__u16)first;
	}
	state->random = state->random * 6364136223846793005ull + 1442695040888963407ull;
	return (__u16)(state->random >> 48);
}

#endif

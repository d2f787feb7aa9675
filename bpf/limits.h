/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How much signalling may go to user space: per source, per source prefix, and in all; how many errors
 * the programs send; and what tunnels that are limited may carry. Knows nothing of packets but who sent
 * them, and how long they are.
 *
 * Source addresses of UDP can be invented, so a flood of invented ones must not take the place of
 * people who log in. What it cannot do is come back: an invented source is hardly ever seen twice,
 * while a client repeats what was not answered. So the total is in two shares. Strangers have the
 * smaller one, and a flood may well use it up; but the stranger's key is remembered even when its
 * packet is dropped, and when it comes again it has the larger share. A source heard of twice keeps
 * its place in the table; strangers only take over the places of strangers. Who sends floods with
 * invented sources that do come back fights over the larger share with everybody: then the odds
 * decide, and clients repeat.
 *
 * Two CPUs may read the same bucket before either writes it, and then a packet too many goes through.
 * That is accepted: the limits protect from a hundred times too many.
 */
#ifndef SIXWAY_LIMITS_H
#define SIXWAY_LIMITS_H

#include "maps.h"
#include "subprogram.h"

#define NANOSECONDS 1000000000ull
/* What may be ahead: two seconds' worth of packets, whatever the rate. */
#define BURST_NS (2 * NANOSECONDS)
/* A silent source's place may be taken over after this. A login takes no longer. */
#define REMEMBERED_NS (60 * NANOSECONDS)
#define KNOWN_BIT 1ull
/* What a limited tunnel may be ahead: what a connection needs to get going. */
#define RATE_BURST_NS (NANOSECONDS / 5)
#define RATE_UNIT_SHIFT 10 /* costs are those of 1024 octets */

/* /24 of an IPv4 address; /48 of the high half of an IPv6 address. */
#define IPV4_PREFIX_SHIFT 8
#define IPV6_PREFIX_SHIFT 16

/* Takes the cost of some packets; 0: there is not enough left, and nothing was taken. `burst`: how far
 * ahead what is paid for may be. */
static __always_inline int pay(__u64 *paid_until, __u64 now, __u64 cost, __u64 burst)
{
	__u64 flag = *paid_until & KNOWN_BIT, from = *paid_until & ~KNOWN_BIT;

	if (from < now)
		from = now;
	if (from + cost > now + burst)
		return 0;
	*paid_until = ((from + cost) & ~KNOWN_BIT) | flag;
	return 1;
}

/* Multiply-shift (Dietzfelbinger): for who does not know the multiplier, places are random. */
static __always_inline __u32 place_of(const struct config *settings, __u64 key, __u32 bits)
{
	return (__u32)(key * settings->hash_multiplier >> (64 - bits));
}

/* Makes the place that of `key` unless somebody is to keep it. 0: somebody is. */
static __always_inline int take_place(struct source *place, __u64 key, __u64 now)
{
	if (place->paid_until & KNOWN_BIT && place->paid_until + REMEMBERED_NS > now)
		return 0;
	place->key = key;
	place->paid_until = now & ~KNOWN_BIT;
	return 1;
}

/*
 * What becomes of signalling from `key`: OUTCOME_IN_SIGNALLING or the limit that it exceeds. `key` as
 * in struct source; `packets` that the buffer stands for.
 */
SUBPROGRAM int limit_signalling(const struct config *settings, __u64 key, __u32 prefix_shift,
				__u32 packets)
{
	__u64 now = bpf_ktime_get_coarse_ns(), prefix = key >> prefix_shift, cost;
	__u32 at, share = SHARE_STRANGERS;
	struct source *source, *around;
	struct budget *budget;

	if (!settings)
		return OUTCOME_IN_SIGNALLING;
	at = place_of(settings, key, SOURCES_BITS);
	source = bpf_map_lookup_elem(&sources, &at);
	if (source && source->key == key) {
		share = SHARE_KNOWN;
		source->paid_until |= KNOWN_BIT;
	} else if (source && !take_place(source, key, now)) {
		source = 0; /* a stranger without a place has no limit of its own, but the others' */
	}
	cost = (__u64)settings->address_cost * packets;
	if (source && !pay(&source->paid_until, now, cost, BURST_NS))
		return OUTCOME_IN_SIGNALLING_LIMITED_ADDRESS;

	at = place_of(settings, prefix, SOURCE_PREFIXES_BITS);
	around = bpf_map_lookup_elem(&source_prefixes, &at);
	if (around && around->key != prefix && !take_place(around, prefix, now))
		around = 0;
	cost = (__u64)settings->prefix_cost * packets;
	if (around && !pay(&around->paid_until, now, cost, BURST_NS))
		return OUTCOME_IN_SIGNALLING_LIMITED_PREFIX;

	cost = (__u64)(share == SHARE_KNOWN ? settings->known_cost : settings->stranger_cost) * packets;
	budget = bpf_map_lookup_elem(&budgets, &share);
	if (budget && !pay(&budget->paid_until, now, cost, BURST_NS))
		return OUTCOME_IN_SIGNALLING_LIMITED_TOTAL;
	return OUTCOME_IN_SIGNALLING;
}

/*
 * Whether the limited tunnel of `key` (enum rate_key) may carry that much more, towards its client or
 * from it. Whoever has used nothing of the burst may send whatever it is: a super-packet can be worth more
 * than all of it.
 */
SUBPROGRAM int afford_octets(__u32 key, __u32 octets, int is_out)
{
	struct tunnel_rate *rate = bpf_map_lookup_elem(&rates, &key);
	__u64 now = bpf_ktime_get_coarse_ns(), *paid_until, cost;

	if (!rate)
		return 1;
	paid_until = is_out ? &rate->out_paid_until : &rate->in_paid_until;
	cost = (__u64)(is_out ? rate->out_cost : rate->in_cost) * octets >> RATE_UNIT_SHIFT;
	if (!cost || pay(paid_until, now, cost, RATE_BURST_NS))
		return 1;
	if (*paid_until > now)
		return 0;
	*paid_until = now + cost;
	return 1;
}

/* Whether one more error may be sent. */
static __always_inline int afford_error(const struct config *settings)
{
	__u32 share = SHARE_ERRORS;
	struct budget *budget = bpf_map_lookup_elem(&budgets, &share);

	return !budget || pay(&budget->paid_until, bpf_ktime_get_coarse_ns(), settings->error_cost,
			      BURST_NS);
}

#endif

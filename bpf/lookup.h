/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an inner address to the tunnel that it belongs to: arithmetic on the pools, then one array
 * read (links) or two (delegations). Knows nothing of packets.
 */
#ifndef SIXWAY_LOOKUP_H
#define SIXWAY_LOOKUP_H

#include "maps.h"

enum found {
	FOUND_LINK, /* the address is in a tunnel's link */
	FOUND_DELEGATED, /* in a prefix delegated to a tunnel */
	FOUND_UNDELEGATED, /* in a delegation pool, held by nobody */
	FOUND_OUTSIDE, /* in no pool */
};

/* `slot` is set for FOUND_LINK and FOUND_DELEGATED. `high` is the address's high half. */
static __always_inline enum found find_slot(const struct config *settings, __u64 high, __u32 *slot)
{
	for (__u32 i = 0; i < MAX_POOLS; i++) {
		__u32 key = i;
		const struct pool *pool;
		__u64 offset;
		const struct owner_block *owners_here;
		__u32 index, block, owner;

		if (i >= settings->pool_count)
			break;
		pool = bpf_map_lookup_elem(&pools, &key);
		if (!pool || pool->kind == POOL_NONE)
			continue;
		offset = high ^ pool->network;
		if (offset >> (64 - pool->prefix_length))
			continue;
		index = pool->first_index + (__u32)(offset >> (64 - pool->position_length));
		if (pool->kind == POOL_LINK) {
			*slot = index;
			return FOUND_LINK;
		}
		block = index / OWNERS_PER_BLOCK;
		owners_here = bpf_map_lookup_elem(&owners, &block);
		owner = owners_here ? owners_here->owner[index % OWNERS_PER_BLOCK] : 0;
		if (owner == 0)
			return FOUND_UNDELEGATED;
		*slot = owner - 1;
		return FOUND_DELEGATED;
	}
	return FOUND_OUTSIDE;
}

#endif

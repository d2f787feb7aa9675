/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From an inner address to the tunnel that it belongs to: arithmetic on the pools, then one array
 * read (links) or two (delegations). Knows nothing of packets.
 */
#ifndef SIXWAY_LOOKUP_H
#define SIXWAY_LOOKUP_H

#include "maps.h"
#include "subprogram.h"

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
		if (!pool || (pool->kind != POOL_LINK && pool->kind != POOL_DELEGATION))
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

/* The high half of a tunnel's gateway: its link, found from its slot. 0: the slot is in no pool. */
SUBPROGRAM __u64 gateway_of(const struct config *settings, __u32 slot)
{
	for (__u32 i = 0; i < MAX_POOLS; i++) {
		__u32 key = i;
		const struct pool *pool;
		__u64 position;

		if (!settings || i >= settings->pool_count)
			break;
		pool = bpf_map_lookup_elem(&pools, &key);
		if (!pool || pool->kind != POOL_LINK || slot < pool->first_index)
			continue;
		position = (__u64)(slot - pool->first_index) << (64 - pool->position_length);
		if (!(position >> (64 - pool->prefix_length)))
			return pool->network | position;
	}
	return 0;
}

/* The slot of some link, for a gateway of no particular tunnel; 0 when there is no pool. */
SUBPROGRAM __u32 first_slot(const struct config *settings)
{
	for (__u32 i = 0; i < MAX_POOLS; i++) {
		__u32 key = i;
		const struct pool *pool;

		if (!settings || i >= settings->pool_count)
			break;
		pool = bpf_map_lookup_elem(&pools, &key);
		if (pool && pool->kind == POOL_LINK)
			return pool->first_index;
	}
	return 0;
}

/* Of an inner IPv4 address: its tunnel's slot and gateway, and whose it is. */
struct link4 {
	__u32 slot;
	__u32 gateway;
	__u8 is_gateway;
	__u8 is_client; /* neither: the first or last address of a /30 */
};

/* 0: in no pool. `address` is a number. */
static __always_inline int find_link4(const struct config *settings, __u32 address,
				      struct link4 *link)
{
	for (__u32 i = 0; i < MAX_POOLS; i++) {
		__u32 key = i, position;
		const struct pool *pool;
		__u64 offset;

		if (i >= settings->pool_count)
			break;
		pool = bpf_map_lookup_elem(&pools, &key);
		if (!pool || pool->kind != POOL_IPV4_LINK)
			continue;
		offset = ((__u64)address << 32) ^ pool->network;
		if (offset >> (64 - pool->prefix_length))
			continue;
		position = (__u32)(offset >> (64 - pool->position_length));
		link->slot = pool->first_index + position;
		if (pool->position_length == 32) {
			link->gateway = (__u32)(pool->network >> 32);
			link->is_gateway = position == 0;
			link->is_client = position != 0;
		} else {
			link->gateway = (address & ~3u) | IPV4_GATEWAY_HOST;
			link->is_gateway = (address & 3) == IPV4_GATEWAY_HOST;
			link->is_client = (address & 3) == IPV4_CLIENT_HOST;
		}
		return 1;
	}
	return 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The server's maps. User space pins those that it reads or writes, and sets the sizes of those that
 * grow with the number of tunnels at load time; the sizes here are the smallest that load.
 */
#ifndef SIXWAY_MAPS_H
#define SIXWAY_MAPS_H

#include <bpf/bpf_helpers.h>
#include "layout.h"

/* One record per slot. User space writes endpoint, interface_id, mtu and flags; the kernel writes
 * counters and times. An array, because slots are arithmetic on addresses: no hash, no key, the
 * same cost for one tunnel and a million. Mappable, so that user space writes and reads it without
 * a system call. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel);
} tunnels SEC(".maps");

/* The same for IPv4 over IPv6, whose endpoints are longer; its slots are counted apart. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_v4v6);
} tunnels_v4v6 SEC(".maps");

/* By slot, as long as `tunnels` and `tunnels_v4v6`: what was dropped of each. The kernel writes, and
 * only when it drops. Mappable, so that the list of all tunnels costs no system call for each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_faults);
} faults SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_faults);
} faults_v4v6 SEC(".maps");

/* By slot (enum rate_key), of the tunnels that have TUNNEL_LIMITED. User space adds and removes, the
 * kernel pays. A hash without preallocation, since most tunnels have no limit and then cost nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_rate);
} rates SEC(".maps");

/* At the place that an endpoint's hash says: its last packet that led to no tunnel. The kernel writes,
 * user space reads the place of an endpoint that it asks about. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << STRAYS_BITS);
	__type(key, __u32);
	__type(value, struct stray);
} strays SEC(".maps");

/* Whose a delegated prefix is, by owner index: block index / OWNERS_PER_BLOCK. User space writes, the
 * kernel reads. Four octets a position where a record would cost 64: delegation pools are large and
 * sparse. Mappable, as one array of words. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct owner_block);
} owners SEC(".maps");

/* User space writes, the kernel reads config.pool_count of them in order. A scan of an array beats a
 * trie while pools can be counted on two hands. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_POOLS);
	__type(key, __u32);
	__type(value, struct pool);
} pools SEC(".maps");

/* Entry 0; user space writes, the kernel reads. A map and not constants of the program, so that a
 * changed address or uplink needs no new program, and a new program finds the old values. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

/* Sources of signalling, at the place that their key's hash says (limits.h). The kernel writes; user
 * space has no business here. An array of places that are taken over and not an LRU hash: a flood
 * from invented sources then writes 16 octets a packet, without locks, free lists or evictions. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SOURCES_BITS);
	__type(key, __u32);
	__type(value, struct source);
} sources SEC(".maps");

/* The same for their prefixes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SOURCE_PREFIXES_BITS);
	__type(key, __u32);
	__type(value, struct source);
} source_prefixes SEC(".maps");

/* By enum signalling_share; the kernel writes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHARE_COUNT);
	__type(key, __u32);
	__type(value, struct budget);
} budgets SEC(".maps");

/* Packets and octets by enum outcome; the kernel writes, user space adds up the CPUs. Per CPU, since
 * every packet writes here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOME_COUNT);
	__type(key, __u32);
	__type(value, struct outcome_count);
} outcomes SEC(".maps");

#endif

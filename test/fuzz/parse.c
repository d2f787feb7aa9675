/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Coverage-guided fuzzing of bpf/parse.h and parse6.h on the host, under libFuzzer with the address
 * and undefined-behaviour sanitizers. An input is one octet that says how much of the packet a program
 * can read at first, and the packet from its network header on. What the parser accepts must lie
 * inside the packet, and reading more of the same packet must not change its mind.
 */
#include <stdlib.h>
#include <string.h>
#include "parse6.h"

#define LOCAL_ADDRESS 0xc0000201u /* 192.0.2.1 */
#define LOCAL_PORT 3653

/* 2001:db8:53::53 */
static const struct address6 local = { 0x20010db800530000, 0x53 };

static void require(int holds)
{
	if (!holds)
		abort();
}

static void require_outcome(int result)
{
	require(result == PARSED_SHORT || result == PARSED_FRAGMENT ||
		(result >= 0 && result < OUTCOME_COUNT && result != OUTCOME_IN_DECAPSULATED));
}

static int parse4(__u8 *at, __u32 readable, __u32 length)
{
	struct outer outer = {};
	int result = parse_outer(at, at + readable, length, LOCAL_ADDRESS, LOCAL_PORT, &outer);

	if (result != PARSED_IPV6) {
		require_outcome(result);
		return result;
	}
	require((__u8 *)outer.inner == at + outer.header_length);
	require(outer.header_length >= IPV4_HEADER && outer.header_length + IPV6_HEADER <= readable);
	require(outer.inner_room >= IPV6_HEADER && outer.header_length + outer.inner_room <= length);
	require(outer.inner->version == 6 && outer.endpoint >> ENDPOINT_ENCAPSULATION_SHIFT != 0);
	return result;
}

static int parse6(__u8 *at, __u32 readable, __u32 length)
{
	struct outer6 outer = {};
	int result = parse_outer6(at, at + readable, length, &local, LOCAL_PORT, &outer);

	if (result != PARSED_IPV4) {
		require_outcome(result);
		return result;
	}
	require((__u8 *)outer.inner == at + outer.header_length);
	require(outer.header_length >= IPV6_HEADER && outer.header_length + IPV4_HEADER <= readable);
	require(outer.inner_room >= IPV4_HEADER && outer.header_length + outer.inner_room <= length);
	require(outer.inner->ihl >= 5 && bpf_ntohs(outer.inner->tot_len) <= outer.inner_room);
	return result;
}

/* Where packets are parsed: each in memory of its own, so that one octet too many is noticed. */
static int parse_copy(int (*parse)(__u8 *, __u32, __u32), const __u8 *packet, __u32 readable,
		      __u32 length)
{
	__u8 *copy = malloc(readable ? readable : 1);
	int result;

	memcpy(copy, packet, readable);
	result = parse(readable ? copy : copy + 1, readable, length);
	free(copy);
	return result;
}

static void parse_twice(int (*parse)(__u8 *, __u32, __u32), const __u8 *packet, __u32 readable,
			__u32 length)
{
	int part = parse_copy(parse, packet, readable, length);
	int whole = parse_copy(parse, packet, length, length);

	require(part == PARSED_SHORT || part == whole);
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	__u32 length, readable;

	if (size < 1 || size > 512)
		return -1;
	length = size - 1;
	readable = data[0] < length ? data[0] : length;
	parse_twice(parse4, data + 1, readable, length);
	parse_twice(parse6, data + 1, readable, length);
	return 0;
}

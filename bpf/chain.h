/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an IPv6 packet carries behind its extension headers. Only for packets that are not what nearly
 * all are: it reads by helper, header by header. Knows no maps.
 */
#ifndef SIXWAY_CHAIN_H
#define SIXWAY_CHAIN_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "parse6.h"
#include "subprogram.h"

#define EXTENSIONS_AT_MOST 6

/* What find_upper() says when there is no place to name. */
enum chain {
	CHAIN_TOO_LONG = -1,
	CHAIN_CUT = -2, /* the packet, or the first fragment, ends within the headers (RFC 7112) */
	CHAIN_LATER_FRAGMENT = -3,
};

/* Where the upper layer begins, and which it is, in one number. */
#define UPPER_AT(found) ((__u32)(found) >> 8)
#define UPPER_PROTOCOL(found) ((__u32)(found) & 0xff)

/*
 * `at`: where in the buffer what the inner header announces as `protocol` begins; `end`: where the
 * inner packet ends, since what follows is padding. What is no extension header is an upper layer.
 */
SUBPROGRAM int find_upper(struct __sk_buff *skb, __u32 at, __u32 end, __u32 protocol)
{
	for (int i = 0; i <= EXTENSIONS_AT_MOST; i++) {
		__u8 start[4];

		if (!is_extension(protocol) && protocol != PROTOCOL_FRAGMENT)
			return at << 8 | protocol;
		if (at + EXTENSION_UNIT > end || bpf_skb_load_bytes(skb, at, start, sizeof(start)))
			return CHAIN_CUT;
		if (protocol == PROTOCOL_FRAGMENT) {
			if ((start[2] << 8 | start[3]) & FRAGMENT6_OFFSET)
				return CHAIN_LATER_FRAGMENT;
			at += EXTENSION_UNIT;
		} else if (protocol == PROTOCOL_AUTHENTICATION) {
			at += (start[1] + 2) * 4; /* RFC 4302, 2.2 */
		} else {
			at += (start[1] + 1) * EXTENSION_UNIT;
		}
		protocol = start[0];
	}
	return CHAIN_TOO_LONG;
}

#endif

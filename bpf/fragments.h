/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Puts the fragments of outer packets together, so that what comes of them takes the way of any other
 * packet. The kernel does so for its sockets only: what it has put together leaves by no device in one
 * piece, and programs see packets at devices. Who may send what is not decided here.
 *
 * A fragment's octets are copied to the place of its datagram, and the fragment is dropped; the one that
 * completes the datagram, whichever it is, becomes the whole. Places are found by hash, and who comes last
 * has the place, as in `strays`: memory is bounded, and a flood of fragments without an end keeps others
 * out for as long as it lasts and no longer. What is not complete when programs are replaced is lost.
 */
#ifndef SIXWAY_FRAGMENTS_H
#define SIXWAY_FRAGMENTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "counting.h"
#include "parse6.h"
#include "subprogram.h"

/* 4 MiB: as much as the kernel allows itself (net.ipv4.ipfrag_high_thresh). */
#ifndef ASSEMBLIES_BITS
#define ASSEMBLIES_BITS 10
#endif
/* An outer packet's payload is shorter than this, unless frames are jumbo. */
#define PAYLOAD_LIMIT 2048
#define FRAGMENT_UNIT 8
#define UNIT_WORDS (PAYLOAD_LIMIT / FRAGMENT_UNIT / 64)
/* Fragments travel together. Much longer, and identifications come again (RFC 4963). */
#define PATIENCE_TICKS 15 /* two seconds */

/* Fragments with the same are of one datagram; our address is one in each family. */
struct datagram {
	__u64 high; /* source; IPv4: 0 */
	__u64 low;
	__u64 rest; /* identification, protocol, version; 0: none */
};
#define DATAGRAM_PROTOCOL_SHIFT 32
#define DATAGRAM_VERSION_SHIFT 40

struct assembly {
	__u32 busy; /* 1: a CPU works on it, and others leave it alone */
	__u32 first_tick; /* when the first of its fragments came */
	struct datagram datagram;
	__u64 units[UNIT_WORDS]; /* of eight octets: which are there */
	__u32 total; /* octets; 0: the last fragment has not come */
	__u32 present; /* octets */
	__u32 furthest; /* where the furthest fragment ends */
	__u8 is_tunnelled; /* and not something else that is the kernel's to put together */
	__u8 traffic_class; /* of the fragment at offset 0 */
	__u8 congestion; /* by ECN codepoint: which were seen */
	__u8 reserved;
	/* Twice as long, because the verifier knows offset and length apart from each other only. */
	__u8 payload[2 * PAYLOAD_LIMIT];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << ASSEMBLIES_BITS);
	__type(key, __u32);
	__type(value, struct assembly);
} assemblies SEC(".maps");

struct fragment {
	struct datagram datagram;
	__u32 at; /* where its payload begins in the buffer */
	__u32 whole_at; /* where that of the whole is to begin */
	__u32 offset;
	__u32 length;
	__u8 is_last;
	__u8 is_tunnelled; /* for certain */
	__u8 traffic_class;
	__u8 reserved;
};

/* What becomes of a fragment: an outcome, or this and the whole's traffic class. */
#define FRAGMENT_COMPLETES 0x100

/* What a fragment that cannot be used ends as: of what is not known to be a tunnel's the kernel decides. */
static __always_inline int refusal(int is_tunnelled)
{
	return is_tunnelled ? OUTCOME_IN_TRUNCATED : OUTCOME_IN_NOT_OURS;
}

/* The same, and what came before with it: nobody's honest work (RFC 5722). */
static __always_inline int give_up(struct assembly *assembly)
{
	assembly->datagram.rest = 0;
	return refusal(assembly->is_tunnelled);
}

/* Makes the place that of the fragment's datagram, with nothing there. */
static __always_inline void take_over(struct assembly *assembly, const struct fragment *fragment,
				      __u32 now)
{
	assembly->datagram = fragment->datagram;
	assembly->first_tick = now;
	for (int i = 0; i < UNIT_WORDS; i++)
		assembly->units[i] = 0;
	assembly->total = 0;
	assembly->present = 0;
	assembly->furthest = 0;
	assembly->is_tunnelled = 0;
	assembly->congestion = 0;
}

static __always_inline int is_same(const struct datagram *one, const struct datagram *other)
{
	return one->rest == other->rest && one->low == other->low && one->high == other->high;
}

/* The whole's traffic class: RFC 3168, 5.3. -1: congestion where the sender said it cannot be told. */
static __always_inline int merged_class(const struct assembly *assembly)
{
	if (!(assembly->congestion & 1 << ECN_CE))
		return assembly->traffic_class;
	return assembly->congestion & 1 ? -1 : assembly->traffic_class | ECN_CE;
}

static __always_inline int complete(struct __sk_buff *skb, struct assembly *assembly, __u32 whole_at)
{
	__u32 total = assembly->total & (PAYLOAD_LIMIT - 1);
	int traffic_class = merged_class(assembly);

	assembly->datagram.rest = 0;
	if (traffic_class < 0)
		return OUTCOME_IN_CONGESTION_LOST;
	if (!total || bpf_skb_change_tail(skb, whole_at + total, 0) ||
	    bpf_skb_store_bytes(skb, whole_at, assembly->payload, total, BPF_F_RECOMPUTE_CSUM))
		return OUTCOME_IN_STRIP_FAILED;
	return FRAGMENT_COMPLETES | traffic_class;
}

static __always_inline int add_fragment(struct __sk_buff *skb, struct assembly *assembly,
					const struct fragment *fragment)
{
	__u32 offset = fragment->offset, length = fragment->length, end = offset + length;
	__u32 first = offset / FRAGMENT_UNIT, behind = (end + FRAGMENT_UNIT - 1) / FRAGMENT_UNIT;
	__u64 masks[UNIT_WORDS];
	int is_there = 0, is_missing = 0, is_known;
	__u32 now = now_ticks();

	is_known = is_same(&assembly->datagram, &fragment->datagram) &&
		   now - assembly->first_tick <= PATIENCE_TICKS;
	if (!length || length >= PAYLOAD_LIMIT || offset >= PAYLOAD_LIMIT || end >= PAYLOAD_LIMIT ||
	    (!fragment->is_last && length % FRAGMENT_UNIT))
		return is_known ? give_up(assembly) : refusal(fragment->is_tunnelled);
	if (!is_known)
		take_over(assembly, fragment, now);
	assembly->is_tunnelled |= fragment->is_tunnelled;

	for (int i = 0; i < UNIT_WORDS; i++) {
		__u32 word = i * 64;
		__u32 from = first > word ? first - word : 0, to = behind > word ? behind - word : 0;

		masks[i] = from >= 64 || from >= to ? 0 :
			   to >= 64		    ? ~0ull << from :
						      (~0ull << from) & ((1ull << to) - 1);
		is_there |= (assembly->units[i] & masks[i]) != 0;
		is_missing |= (masks[i] & ~assembly->units[i]) != 0;
	}
	if (is_there && !is_missing) /* The network delivered it twice. */
		return assembly->is_tunnelled ? OUTCOME_IN_FRAGMENT : OUTCOME_IN_NOT_OURS;
	if (is_there || (assembly->total && (fragment->is_last || end > assembly->total)) ||
	    (fragment->is_last && end < assembly->furthest))
		return give_up(assembly);

	if (bpf_skb_load_bytes(skb, fragment->at, assembly->payload + (offset & (PAYLOAD_LIMIT - 1)),
			       length))
		return give_up(assembly);
	for (int i = 0; i < UNIT_WORDS; i++)
		assembly->units[i] |= masks[i];
	assembly->present += length;
	if (end > assembly->furthest)
		assembly->furthest = end;
	if (fragment->is_last)
		assembly->total = end;
	if (!offset)
		assembly->traffic_class = fragment->traffic_class;
	assembly->congestion |= 1 << (fragment->traffic_class & ECN_MASK);
	if (assembly->present == assembly->total && assembly->is_tunnelled)
		return complete(skb, assembly, fragment->whole_at);
	return assembly->is_tunnelled ? OUTCOME_IN_FRAGMENT : OUTCOME_IN_NOT_OURS;
}

/* `multiplier`: as in place_of(). Returns an outcome, or FRAGMENT_COMPLETES and a traffic class. */
SUBPROGRAM int keep_fragment(struct __sk_buff *skb, const struct fragment *fragment, __u64 multiplier)
{
	struct assembly *assembly;
	__u32 place;
	int result;

	if (!fragment)
		return OUTCOME_IN_FRAGMENT;
	/* Added up after multiplying: nobody knows which sources and identifications share a place. */
	place = (fragment->datagram.rest * multiplier +
		 (fragment->datagram.low ^ fragment->datagram.high * 3) * (multiplier * multiplier)) >>
		(64 - ASSEMBLIES_BITS);
	assembly = bpf_map_lookup_elem(&assemblies, &place);
	/* Fragments of one datagram come to one CPU, as they have no ports to be told apart by. */
	if (!assembly || __sync_val_compare_and_swap(&assembly->busy, 0, 1))
		return fragment->is_tunnelled ? OUTCOME_IN_FRAGMENT : OUTCOME_IN_NOT_OURS;
	result = add_fragment(skb, assembly, fragment);
	__sync_lock_test_and_set(&assembly->busy, 0);
	return result;
}

/* Writes 16 bits of an IPv4 header; its checksum follows. Returns 0 or a negative error. */
static __always_inline int replace_in_header(struct __sk_buff *skb, __u32 header_at, __u32 at,
					     __be16 old, __be16 new)
{
	if (bpf_l3_csum_replace(skb, header_at + offsetof(struct iphdr, check), old, new, sizeof(new)))
		return -1;
	return bpf_skb_store_bytes(skb, header_at + at, &new, sizeof(new), 0);
}

/*
 * Takes an IPv4 packet that parse_outer() called a fragment. Returns PARSED_WHOLE when the buffer holds
 * the whole datagram, behind the header of this fragment; else an outcome. Of UDP that comes in the
 * wrong order nobody knows at first whose it is: the kernel gets it as well, and forgets it when the rest
 * does not come.
 */
SUBPROGRAM int put_together(struct __sk_buff *skb, __u32 link_length, __u64 multiplier)
{
	struct fragment fragment = {};
	__u32 ip_length, total;
	struct iphdr ip;
	__be16 start;
	__u16 bits;
	int result;

	if (bpf_skb_load_bytes(skb, link_length, &ip, sizeof(ip)))
		return OUTCOME_IN_NOT_OURS;
	bits = bpf_ntohs(ip.frag_off);
	ip_length = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	fragment.datagram.low = ip.saddr;
	fragment.datagram.rest = ip.id | (__u64)ip.protocol << DATAGRAM_PROTOCOL_SHIFT |
				 4ull << DATAGRAM_VERSION_SHIFT;
	fragment.at = link_length + ip_length;
	fragment.whole_at = fragment.at;
	fragment.offset = (bits & FRAGMENT_OFFSET) * FRAGMENT_UNIT;
	fragment.length = total > ip_length ? total - ip_length : 0;
	fragment.is_last = !(bits & MORE_FRAGMENTS);
	fragment.is_tunnelled = ip.protocol == PROTOCOL_IPV6 || !fragment.offset;
	fragment.traffic_class = ip.tos;
	result = keep_fragment(skb, &fragment, multiplier);
	if (!(result & FRAGMENT_COMPLETES))
		return result;

	start = bpf_htons(ip.version << 12 | ip.ihl << 8 | (result & 0xff));
	total = skb->len - link_length;
	if (replace_in_header(skb, link_length, 0, *(__be16 *)&ip, start) ||
	    replace_in_header(skb, link_length, offsetof(struct iphdr, tot_len), ip.tot_len,
			      bpf_htons(total)) ||
	    replace_in_header(skb, link_length, offsetof(struct iphdr, frag_off), ip.frag_off, 0))
		return OUTCOME_IN_STRIP_FAILED;
	return PARSED_WHOLE;
}

/* The same for IPv6: the whole has no fragment header. The kernel's tunnels put their option before it. */
SUBPROGRAM int put_together6(struct __sk_buff *skb, __u32 link_length, __u64 multiplier)
{
	struct fragment fragment = {};
	__u8 extension[EXTENSION_UNIT];
	__u32 at = link_length + IPV6_HEADER, announced_at, end;
	__be16 start, length;
	struct ipv6hdr ip6;
	__u16 bits;
	int result;

	if (bpf_skb_load_bytes(skb, link_length, &ip6, sizeof(ip6)))
		return OUTCOME_IN_NOT_OURS;
	announced_at = link_length + offsetof(struct ipv6hdr, nexthdr);
	if (ip6.nexthdr == PROTOCOL_DESTINATION_OPTIONS) {
		announced_at = at;
		at += EXTENSION_UNIT;
	}
	if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension)))
		return OUTCOME_IN_NOT_OURS;
	start = *(__be16 *)&ip6;
	bits = extension[2] << 8 | extension[3];
	fragment.datagram.high = high_half(&ip6.saddr);
	fragment.datagram.low = low_half(&ip6.saddr);
	fragment.datagram.rest = *(__u32 *)(extension + 4) |
				 (__u64)extension[0] << DATAGRAM_PROTOCOL_SHIFT |
				 6ull << DATAGRAM_VERSION_SHIFT;
	fragment.whole_at = at;
	fragment.at = at + EXTENSION_UNIT;
	fragment.offset = bits & FRAGMENT6_OFFSET;
	end = link_length + IPV6_HEADER + bpf_ntohs(ip6.payload_len);
	fragment.length = end > fragment.at ? end - fragment.at : 0;
	fragment.is_last = !(bits & MORE_FRAGMENTS6);
	fragment.is_tunnelled = 1;
	fragment.traffic_class = bpf_ntohs(start) >> 4;
	result = keep_fragment(skb, &fragment, multiplier);
	if (!(result & FRAGMENT_COMPLETES))
		return result;

	start = (start & bpf_htons(0xf00f)) | bpf_htons((result & 0xff) << 4);
	length = bpf_htons(skb->len - link_length - IPV6_HEADER);
	if (bpf_skb_store_bytes(skb, link_length, &start, sizeof(start), BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, link_length + offsetof(struct ipv6hdr, payload_len), &length,
				sizeof(length), BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, announced_at, extension, 1, BPF_F_RECOMPUTE_CSUM))
		return OUTCOME_IN_STRIP_FAILED;
	return PARSED_WHOLE;
}

#endif

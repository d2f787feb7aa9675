/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bench's source of packets: run over frames of the kernel's own making, it writes the whole
 * packet anew (frames come back with what a receiver made of them), for a tunnel drawn at random, and
 * sends it. bench/generator.ts says which packet.
 */
#include <linux/bpf.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PACKET_WORDS 20
#define ETHERNET 14
/* How far it may fall behind its pace and still make up for it. */
#define SLACK_NS 20000
#define LOOKS_AT_CLOCK 1000

struct job {
	__u32 ifindex;
	__u32 tunnels; /* numbers drawn are below this */
	/* Where a number is added, in octets from the front: an inner address's second word, and an outer
	 * IPv4 address, whose header begins at ETHERNET and has a checksum for 0. 0: nowhere. */
	__u32 inner_at;
	__u32 outer_at;
	__u64 packet[PACKET_WORDS];
};

struct pace {
	__u64 gap_ns; /* between packets; 0: as fast as it goes */
	__u64 next_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} job SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pace);
} pace SEC(".maps");

/* 0: it is still too early after all this waiting. Frames that are not sent go back to where the receiver's
 * frames go, and would keep that place busy: better to wait than to come often. */
static __always_inline int wait_for_turn(struct pace *pace)
{
	__u64 now;

	if (!pace->gap_ns)
		return 1;
	for (int i = 0; i < LOOKS_AT_CLOCK; i++) {
		now = bpf_ktime_get_ns();
		if (now < pace->next_ns)
			continue;
		pace->next_ns = (pace->next_ns + SLACK_NS < now ? now : pace->next_ns) +
				pace->gap_ns;
		return 1;
	}
	return 0;
}

static __always_inline int add_at(struct xdp_md *ctx, __u32 at, __u32 number)
{
	__u8 *word = (__u8 *)(long)ctx->data + (at & 0xff);

	if (word + 4 > (__u8 *)(long)ctx->data_end)
		return 0;
	*(__be32 *)word = bpf_htonl(bpf_ntohl(*(__be32 *)word) + number);
	return 1;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u32 key = 0, number, sum;
	const struct job *work = bpf_map_lookup_elem(&job, &key);
	struct pace *wanted = bpf_map_lookup_elem(&pace, &key);
	__u64 *data = (__u64 *)(long)ctx->data, *end = (__u64 *)(long)ctx->data_end;
	struct iphdr *ip;

	if (!work || !wanted || !wait_for_turn(wanted))
		return XDP_DROP;
	for (int i = 0; i < PACKET_WORDS; i++) {
		if (data + i + 1 > end) {
			/* What is left of a packet of an even length. */
			for (int j = 0; j < 3; j++)
				if ((__u16 *)(data + i) + j + 1 <= (__u16 *)end)
					((__u16 *)(data + i))[j] = ((__u16 *)&work->packet[i])[j];
			break;
		}
		data[i] = work->packet[i];
	}
	number = work->tunnels > 1 ? bpf_get_prandom_u32() % work->tunnels : 0;
	if (!add_at(ctx, work->inner_at, number))
		return XDP_DROP;
	if (work->outer_at) {
		if (!add_at(ctx, work->outer_at, number))
			return XDP_DROP;
		ip = (struct iphdr *)((__u8 *)(long)ctx->data + ETHERNET);
		if ((__u8 *)(ip + 1) > (__u8 *)(long)ctx->data_end)
			return XDP_DROP;
		/* RFC 1624: the number's two halves are added to the sum. */
		sum = (__u16)~ip->check + bpf_htons(number >> 16) + bpf_htons(number & 0xffff);
		sum = (sum & 0xffff) + (sum >> 16);
		ip->check = ~(sum + (sum >> 16));
	}
	return bpf_redirect(work->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

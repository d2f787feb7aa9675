// The bench's source of small packets, as a process of its own inside a host:
//   node bench/generator.ts '{"object", "interface", "packet", "tunnels", "innerAt", "outerAt", …}'
// Has the kernel run generator.bpf.c over frames that it makes itself and send what comes out, which is
// several times as fast as any socket. Says "sending" and is ended from outside; `seconds` is the bound in
// any case. How fast it sends is said from outside as well, in the map pinned at `pacePin`.

import { rmSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import koffi from 'koffi';
import { close, loadObject, openPinned, pin, updateMapElement } from '../src/dataplane/native.ts';
import { findInterface } from '../src/dataplane/network.ts';
import { preparePinDirectory } from '../src/dataplane/pinned-maps.ts';

export interface Job {
  /** Path of the compiled program. */
  readonly object: string;
  readonly interface: string;
  /** With its link layer, in hexadecimal; 160 octets at most. */
  readonly packet: string;
  readonly tunnels: number;
  /** Where the number of a tunnel is added: octets from the front; 0: nowhere. */
  readonly innerAt: number;
  readonly outerAt: number;
  readonly seconds: number;
  readonly pacePin: string;
}

const LIVE_FRAMES = 2;
const PACKETS_PER_RUN = 100_000_000;
const JOB_SIZE = 16 + 160;

if (import.meta.main) {
  const job = JSON.parse(process.argv[2] ?? '{}') as Job;
  const programFd = prepare(job);
  console.log('sending');
  sendAll(programFd, job);
}

/** What a generator that was ended leaves behind. */
export function removePace(pacePin: string): void {
  rmSync(pacePin, { force: true });
}

/** Lets a running generator send that many packets a second at most. */
export function setPace(pacePin: string, packetsPerSecond: number): void {
  const fd = openPinned(pacePin);
  if (fd === undefined) throw new Error(`Nothing is pinned at ${pacePin}`);
  updateMapElement(
    fd,
    0,
    new Uint8Array(BigUint64Array.of(BigInt(Math.round(1e9 / packetsPerSecond)), 0n).buffer),
  );
  close(fd);
}

function prepare(job: Job): number {
  const object = loadObject(job.object, {});
  const value = new Uint8Array(JOB_SIZE);
  const ifindex = findInterface(job.interface)?.index ?? 0;
  new Uint32Array(value.buffer, 0, 4).set([ifindex, job.tunnels, job.innerAt, job.outerAt]);
  value.set(Buffer.from(job.packet, 'hex'), 16);
  updateMapElement(object.mapFd('job'), 0, value);
  preparePinDirectory(dirname(job.pacePin));
  rmSync(job.pacePin, { force: true });
  pin(object.mapFd('pace'), job.pacePin);
  return object.programFd('generate');
}

function sendAll(programFd: number, job: Job): void {
  const libbpf = koffi.load('libbpf.so.1');
  const testRun = libbpf.func('int bpf_prog_test_run_opts(int program, void *options)');
  const packet = Buffer.from(job.packet, 'hex');
  // struct bpf_test_run_opts: size, in, out, sizes, contexts, their sizes, result, repeat, …
  const options = new Uint8Array(80);
  const view = new DataView(options.buffer);
  const address = koffi.address(packet);
  view.setBigUint64(0, 80n, true);
  view.setBigUint64(8, BigInt(address), true);
  view.setUint32(24, packet.length, true);
  view.setInt32(60, PACKETS_PER_RUN, true);
  view.setUint32(68, LIVE_FRAMES, true);
  view.setUint32(76, 64, true);
  // The runtime's own signals end a run early. Each run costs milliseconds, so it is a long one.
  for (const endMs = performance.now() + job.seconds * 1000; performance.now() < endMs; ) {
    const result: number = testRun(programFd, options);
    if (result < 0 && result !== -constants.errno.EINTR)
      throw new Error(`The kernel does not send: error ${result}`);
  }
}

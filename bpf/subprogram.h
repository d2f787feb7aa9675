/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A global function of a program: the verifier looks at it once, by itself, knowing nothing of its
 * arguments, and not again for everything that may have come before each call. Without that, programs
 * take seconds to load. Pointers among its arguments have to be compared with null.
 */
#ifndef SIXWAY_SUBPROGRAM_H
#define SIXWAY_SUBPROGRAM_H

#define SUBPROGRAM __attribute__((noinline))

/*
 * What was just bounded stays in one register: else the compiler computes with what it was before, and
 * verifiers up to that of 6.12 at least do not see that the result is bounded too.
 */
#define KEEP_BOUND(variable) asm volatile("" : "+r"(variable))

#endif

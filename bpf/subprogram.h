/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A global function of a program: the verifier looks at it once, by itself, knowing nothing of its
 * arguments, and not again for everything that may have come before each call. Without that, programs
 * take seconds to load. Pointers among its arguments have to be compared with null.
 */
#ifndef SIXWAY_SUBPROGRAM_H
#define SIXWAY_SUBPROGRAM_H

#define SUBPROGRAM __attribute__((noinline))

#endif

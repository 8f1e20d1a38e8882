#pragma once

namespace secretmem {

// BoringSSL ends the process where getrandom(2) fails, and it calls it whenever its generator wants
// new entropy: every few thousand calls, after a fork, in a new thread. So its system calls come to
// random_source.cc first: one that fails is answered with anything at all, and noted, and the
// borrow whose work drew on it fails with kNoRandom instead of giving out what it made.

// RandomHasFailed says whether that happened on this thread since SetRandomHasFailed(false).
bool RandomHasFailed();
void SetRandomHasFailed(bool failed);

// RandomEverFailed says whether it happened in this process at all. The generator, which mixed what
// it got into a state that nobody knows, is as good as before, but gets no more entropy.
bool RandomEverFailed();

}  // namespace secretmem

// Tells ThreadSanitizer what Swift's Mutex does when threads meet at it; linked into the tests by
// `mount-scripts/test --sanitize=thread`.
//
// The fast ways of Mutex are atomic operations in the caller's code, which ThreadSanitizer sees. The slow ones are two functions of
// libswiftSynchronization, which is not instrumented: there the kernel hands the lock on (FUTEX_LOCK_PI), and without a word
// from here everything that a Mutex guards looks like a race. These stand in front of the two and call them. The word is
// said of the address that the fast ways use, a Mutex's first bytes; so nothing is hidden: a race of what is not guarded by the
// same Mutex is reported as before (Probe.swift shows both).
//
// The functions are not part of the library's interface. Should it rename them, these are never called, and Probe.swift fails.
// A Mutex that is tried (`withLockIfAvailable`) would need `_tryLockSlow` too; there is none in the package.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

void __tsan_acquire(void *address);
void __tsan_release(void *address);

static void *original(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (function == NULL) abort();
  return function;
}

SWIFT void regward_lock_slow(uint32_t thread, SELF void *mutex) __asm__(LOCK_SLOW);
SWIFT void regward_lock_slow(uint32_t thread, SELF void *mutex) {
  SWIFT void (*lock)(uint32_t, SELF void *) = original(LOCK_SLOW);
  lock(thread, mutex);
  __tsan_acquire(mutex);
}

SWIFT void regward_unlock_slow(SELF void *mutex) __asm__(UNLOCK_SLOW);
SWIFT void regward_unlock_slow(SELF void *mutex) {
  SWIFT void (*unlock)(SELF void *) = original(UNLOCK_SLOW);
  // Before, as another thread has the lock when that returns.
  __tsan_release(mutex);
  unlock(mutex);
}

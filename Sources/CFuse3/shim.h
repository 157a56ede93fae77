// libfuse 3's low-level interface, and what Swift cannot import of it as small inline functions.
// No _FILE_OFFSET_BITS here: it breaks the Glibc module.
#pragma once
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <fuse_opt.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

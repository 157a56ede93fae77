/* A library that is preloaded, and wipes the traces of it from the environment before anybody looks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

__attribute__((constructor)) static void blank(void) {
  for (char **variable = environ; *variable; variable++) memset(*variable, 0, strlen(*variable));
  environ[0] = NULL;
}

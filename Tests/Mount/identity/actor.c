/* A program that does as it is told, for check_identity.py: copies of it are exempt, others are not.
 *
 * actor COMMAND [ARGUMENT…] [+ COMMAND [ARGUMENT…]]…: does them until one fails; the exit status is the errno, 0 for none.
 * actor: the same for lines of standard input, words parted by tabs; answers each with the errno.
 * Descriptor 9 is the file that `open` has opened, 8 a socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKET = 8, FILE_HANDLE = 9 };

static int failed(long result) { return result < 0 ? errno : 0; }

static int put(int file, const char *text) {
  int error = failed(write(file, text, strlen(text)));
  return error ? error : failed(fsync(file));
}

static int write_file(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_TRUNC);
  if (file < 0) return errno;
  int error = put(file, text), closing = failed(close(file));
  return error ? error : closing;
}

static int open_file(const char *path) {
  int file = open(path, O_RDWR);
  if (file < 0) return errno;
  dup2(file, FILE_HANDLE);
  return failed(close(file));
}

/* The open file goes over the socket, or comes. */
static int pass(int receives) {
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  int file = FILE_HANDLE;
  if (receives) {
    if (recvmsg(SOCKET, &message, 0) < 0) return errno;
    memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof file);
    return failed(dup2(file, FILE_HANDLE));
  }
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof file);
  memcpy(CMSG_DATA(header), &file, sizeof file);
  return failed(sendmsg(SOCKET, &message, 0));
}

/* Writes through memory, for the kernel to write back. */
static int map(const char *text) {
  char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, FILE_HANDLE, 0);
  if (memory == MAP_FAILED) return errno;
  memcpy(memory, text, strlen(text));
  return failed(msync(memory, 4096, MS_SYNC));
}

/* Goes on as a file in memory with the same content. */
static int become_memory(void) {
  int source = open("/proc/self/exe", O_RDONLY), file = memfd_create("exempt", 0);
  struct stat found;
  if (source < 0 || file < 0 || fstat(source, &found) < 0) return errno;
  if (sendfile(file, source, NULL, found.st_size) < 0) return errno;
  char *words[] = {"actor", NULL}, *none[] = {NULL};
  return failed(fexecve(file, words, none));
}

/* In a user namespace of its own, anybody may say which file he executes: every mapping of the true one is put in anonymous
 * memory first. */
static int forge(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0 || unshare(CLONE_NEWUSER) < 0) return errno;
  char own[4096], line[8192];
  ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
  if (length < 0) return errno;
  own[length] = 0;
  struct { unsigned long start, end; int protection; } parts[64];
  int count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && count < 64 && fgets(line, sizeof line, maps)) {
    char rights[5], *name = strchr(line, '/');
    if (!name || strncmp(name, own, strlen(own))) continue;
    if (sscanf(line, "%lx-%lx %4s", &parts[count].start, &parts[count].end, rights) != 3) continue;
    parts[count].protection = (rights[0] == 'r' ? PROT_READ : 0) | (rights[1] == 'w' ? PROT_WRITE : 0) | (rights[2] == 'x' ? PROT_EXEC : 0);
    count++;
  }
  if (maps) fclose(maps);
  for (int i = 0; i < count; i++) {
    size_t size = parts[i].end - parts[i].start;
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) return errno;
    memcpy(copy, (void *)parts[i].start, size);
    mprotect(copy, size, parts[i].protection);
    if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)parts[i].start) == MAP_FAILED) return errno;
  }
  /* Fields 26 to 52 of /proc/self/stat are what the kernel wants back, with the other file. */
  unsigned long field[53] = {0};
  FILE *stat = fopen("/proc/self/stat", "r");
  if (!stat || !fgets(line, sizeof line, stat)) return EIO;
  fclose(stat);
  char *word = strtok(strrchr(line, ')') + 1, " ");
  for (int i = 3; word && i < 53; i++, word = strtok(NULL, " ")) field[i] = strtoul(word, NULL, 10);
  struct prctl_mm_map layout = {
      .start_code = field[26], .end_code = field[27], .start_stack = field[28], .start_data = field[45], .end_data = field[46],
      .start_brk = field[47], .brk = (unsigned long)sbrk(0), .arg_start = field[48], .arg_end = field[49],
      .env_start = field[50], .env_end = field[51], .exe_fd = file};
  return failed(prctl(PR_SET_MM, PR_SET_MM_MAP, &layout, sizeof layout, 0));
}

static int act(int count, char **words);
static void *serve(void *unused);

static int act(int count, char **words) {
  const char *verb = words[0], *first = count > 1 ? words[1] : "", *second = count > 2 ? words[2] : "";
  pthread_t thread;
  if (!strcmp(verb, "write")) return write_file(first, second);
  if (!strcmp(verb, "open")) return open_file(first);
  if (!strcmp(verb, "put")) return put(FILE_HANDLE, first);
  if (!strcmp(verb, "close")) return failed(close(FILE_HANDLE));
  if (!strcmp(verb, "send")) return pass(0);
  if (!strcmp(verb, "receive")) return pass(1);
  if (!strcmp(verb, "map")) return map(first);
  if (!strcmp(verb, "name")) return failed(prctl(PR_SET_NAME, first));
  if (!strcmp(verb, "memory")) return become_memory();
  if (!strcmp(verb, "unlink")) return failed(unlink(first));
  if (!strcmp(verb, "forge")) return forge(first);
  if (!strcmp(verb, "traceme")) return failed(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
  if (!strcmp(verb, "user")) return failed(setresuid(atoi(first), atoi(first), atoi(first)));
  if (!strcmp(verb, "exec")) return failed(execv(first, words + 1));
  /* Without closing: the kernel does that, when there is no image any more. */
  if (!strcmp(verb, "exit")) {
    write(FILE_HANDLE, first, strlen(first));
    _exit(0);
  }
  /* Nothing in /proc/PID/environ any more. */
  if (!strcmp(verb, "wipe")) {
    for (char **variable = environ; *variable; variable++) memset(*variable, 0, strlen(*variable));
    environ[0] = NULL;
    return 0;
  }
  /* Goes on in another process, and waits for it. */
  if (!strcmp(verb, "fork")) {
    pid_t child = fork();
    if (child == 0) serve(NULL);
    return child < 0 ? errno : (waitpid(child, NULL, 0), 0);
  }
  /* Goes on in another thread, with the leader (and so without it). */
  if (!strcmp(verb, "thread")) return pthread_create(&thread, NULL, serve, NULL) ? EAGAIN : (pthread_join(thread, NULL), 0);
  if (!strcmp(verb, "leave")) {
    if (pthread_create(&thread, NULL, serve, NULL)) return EAGAIN;
    pthread_exit(NULL);
  }
  /* Writes without an end. */
  if (!strcmp(verb, "hammer")) for (;;) write_file(first, second);
  /* Forks and executes /bin/true, and this program again, so many times. */
  if (!strcmp(verb, "storm")) {
    for (long left = atol(first); left > 0; left--) {
      pid_t child = vfork();
      if (child < 0) return errno;
      if (child == 0) {
        execl("/bin/true", "true", NULL);
        _exit(127);
      }
      waitpid(child, NULL, 0);
    }
    return 0;
  }
  return ENOSYS;
}

static void *serve(void *unused) {
  char line[8192], answer[16];
  for (;;) {
    size_t length = 0;
    while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n') length++;
    if (length == 0) _exit(0);
    line[length] = 0;
    char *words[32];
    int count = 0;
    for (char *word = strtok(line, "\t"); word && count < 31; word = strtok(NULL, "\t")) words[count++] = word;
    words[count] = NULL;
    int size = snprintf(answer, sizeof answer, "%d\n", act(count, words));
    write(1, answer, size);
  }
  return unused;
}

int main(int count, char **words) {
  if (count == 1) serve(NULL);
  for (int start = 1; start < count;) {
    int end = start;
    while (end < count && strcmp(words[end], "+")) end++;
    words[end] = NULL;
    int error = act(end - start, words + start);
    if (error) return error;
    start = end + 1;
  }
  return 0;
}

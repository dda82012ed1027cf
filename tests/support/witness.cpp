// Runs a program and writes down what it does to the world: `witness LOG PROGRAM ARGUMENT...`. What `strace -f` tells, as far
// as the tests need it, on machines that have no strace.
//
// Each line is a deed of the program, or of a thread or process that it started:
//   read PATH       a file or folder is opened for reading
//   write PATH      one is opened for writing, made, renamed to this name, linked under it, or removed
//   socket FAMILY   a socket is made
//   listen          a socket waits for others to connect
//   connect FAMILY  a socket is connected
//   send            something is sent to an address
// A path is absolute. What was tried counts, whatever came of it. It ends as the program does, and passes SIGTERM on.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>

static FILE *logged;
static pid_t child;

static void pass_on(int number) { kill(child, number); }

// A text in the program's memory. Read page by page: it may end where the next page is not there.
static std::string text(pid_t who, uint64_t where) {
  std::string found;
  while (where != 0 && found.size() < PATH_MAX) {
    char part[4096];
    size_t length = 4096 - where % 4096;
    iovec here = {part, length}, there = {(void *)where, length};
    ssize_t n = process_vm_readv(who, &here, 1, &there, 1, 0);
    if (n <= 0) break;
    size_t end = strnlen(part, (size_t)n);
    found.append(part, end);
    if (end < (size_t)n) break;
    where += (uint64_t)n;
  }
  return found;
}

static std::string target(pid_t who, const std::string &link) {
  char found[PATH_MAX];
  ssize_t n = readlink(("/proc/" + std::to_string(who) + "/" + link).c_str(), found, sizeof found);
  return n > 0 ? std::string(found, (size_t)n) : "?";
}

static std::string path(pid_t who, uint64_t folder, uint64_t where) {
  std::string name = text(who, where);
  if (!name.empty() && name[0] == '/') return name;
  int number = (int)folder;
  std::string above = target(who, number == AT_FDCWD ? "cwd" : "fd/" + std::to_string(number));
  return name.empty() ? above : above + "/" + name;
}

static void deed(const char *what, const std::string &which) {
  fprintf(logged, "%s %s\n", what, which.c_str());
  fflush(logged);
}

static void opened(uint64_t flags, const std::string &which) {
  bool reads = (flags & O_ACCMODE) == O_RDONLY && (flags & (O_CREAT | O_TRUNC)) == 0;
  deed(reads ? "read" : "write", which);
}

static std::string family(pid_t who, uint64_t where) {
  uint16_t number = 0;
  iovec here = {&number, sizeof number}, there = {(void *)where, sizeof number};
  return process_vm_readv(who, &here, 1, &there, 1, 0) == sizeof number ? std::to_string(number) : "?";
}

// A call of the system that begins, as x86-64 has it in its registers.
static void look(pid_t who, const user_regs_struct &call) {
  const uint64_t a[] = {call.rdi, call.rsi, call.rdx, call.r10, call.r8}, here = (uint64_t)(int64_t)AT_FDCWD;
  switch (call.orig_rax) {
    case SYS_openat: return opened(a[2], path(who, a[0], a[1]));
    case SYS_openat2: return deed("write", path(who, a[0], a[1]));
    case SYS_mkdirat: case SYS_mknodat: case SYS_unlinkat: return deed("write", path(who, a[0], a[1]));
    case SYS_renameat: case SYS_renameat2: case SYS_linkat: return deed("write", path(who, a[2], a[3]));
    case SYS_symlinkat: return deed("write", path(who, a[1], a[2]));
    case SYS_truncate: return deed("write", path(who, here, a[0]));
    case SYS_open: return opened(a[1], path(who, here, a[0]));
    case SYS_creat: case SYS_mkdir: case SYS_mknod: case SYS_unlink: case SYS_rmdir:
      return deed("write", path(who, here, a[0]));
    case SYS_rename: case SYS_link: case SYS_symlink: return deed("write", path(who, here, a[1]));
    case SYS_socket: return deed("socket", std::to_string(a[0]));
    case SYS_listen: return deed("listen", "");
    case SYS_connect: return deed("connect", family(who, a[1]));
    case SYS_sendto:
      if (a[4] != 0) deed("send", "");
      return;
    default: return;
  }
}

int main(int argc, char **argv) {
  if (argc < 3 || (logged = fopen(argv[1], "we")) == NULL) {
    fprintf(stderr, "usage: witness LOG PROGRAM ARGUMENT...\n");
    return 125;
  }
  child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    _exit(126);
  }
  signal(SIGTERM, pass_on);
  int status;
  const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                       PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (waitpid(child, &status, __WALL) != child || ptrace(PTRACE_SETOPTIONS, child, 0, options) != 0) {
    perror("witness: this system does not allow ptrace of a child");
    if (child > 0) kill(child, SIGKILL);
    return 125;
  }
  ptrace(PTRACE_SYSCALL, child, 0, 0);
  std::set<pid_t> seen = {child};
  int result = 125;
  for (pid_t who; (who = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (who == child) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      continue;
    }
    int number = WSTOPSIG(status), passed = 0;
    if (number == (SIGTRAP | 0x80)) {
      // Where a call begins, its result is this error.
      user_regs_struct call = {};
      if (ptrace(PTRACE_GETREGS, who, 0, &call) == 0 && (int64_t)call.rax == -ENOSYS) look(who, call);
    } else if (status >> 16 == 0) {
      // A thread or process begins with a stop of its own; every other signal is the program's.
      bool begins = seen.insert(who).second && number == SIGSTOP;
      passed = begins ? 0 : number;
    }
    ptrace(PTRACE_SYSCALL, who, 0, passed);
  }
  return result;
}

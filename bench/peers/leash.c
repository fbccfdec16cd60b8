// Runs a command, and ends it on SIGTERM and when the program that asked for it dies. When the command ends
// by itself, the CPU seconds (user and system) of it and its descendants are written to descriptor 3, and the
// highest resident size, in KiB, of the largest of them. Node.js tells neither.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t command;

static void EndCommand(int signal) {
  (void)signal;
  kill(command, SIGKILL);
}

static double Seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above.
  if (getppid() != parent) return 1;
  pid_t self = getpid();
  command = fork();
  if (command < 0) {
    perror("fork");
    return 1;
  }
  if (command == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self) return 1;
    close(3);
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    _exit(127);
  }
  struct sigaction action = {.sa_handler = EndCommand, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &action, NULL);
  int status = 0;
  if (waitpid(command, &status, 0) != command) return 1;
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  dprintf(3, "%.6f %ld\n", Seconds(usage.ru_utime) + Seconds(usage.ru_stime), usage.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

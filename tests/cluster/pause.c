/* The process that holds a pod's namespaces open, and does nothing else. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { _exit(0); }

/* Where containers share its process namespace, orphans become its children. */
static void bury(int signal) {
  while (waitpid(-1, 0, WNOHANG) > 0)
    ;
}

int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, bury);
  for (;;)
    pause();
}

// Loads the library late, in a process that has a second thread by then: `late LIBRARY GALLERY`. Ends with the status of skf_open.
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "sketchfind.h"

static void *wait_for_ever(void *nothing) {
  while (pause() == -1) continue;
  return nothing;
}

int main(int argc, char **argv) {
  pthread_t other;
  if (argc != 3 || pthread_create(&other, NULL, wait_for_ever, NULL) != 0) return 100;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 101;
  }
  // A pointer to data is turned into one to a function as POSIX has it.
  skf_status (*open)(const char *, const skf_options *, skf_retriever **);
  const char *(*last_error)(void);
  *(void **)&open = dlsym(library, "skf_open");
  *(void **)&last_error = dlsym(library, "skf_last_error");
  if (open == NULL || last_error == NULL) return 102;
  skf_retriever *retriever = NULL;
  skf_status status = open(argv[2], NULL, &retriever);
  fprintf(stderr, "%s\n", last_error());
  return (int)status;
}

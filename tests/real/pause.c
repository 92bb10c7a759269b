/* The first process of a pod, as Kubernetes' own: nodes tell it from workloads by its name, and a
 * PID 1 gets no signal that it does not handle. */
#include <signal.h>
#include <unistd.h>

static void end(int number)
{
	(void)number;
	_exit(0);
}

int main(void)
{
	signal(SIGTERM, end);
	signal(SIGINT, end);
	for (;;)
		pause();
}

/* A pause container's process, like Kubernetes' own: nodes distinguish it from workloads by its
 * name, and PID 1 gets only the signals that it handles. */
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

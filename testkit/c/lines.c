/* A C program as people write them: stdio, line by line, numbered. */
#include <stdio.h>

int main(void)
{
    char line[1024];
    int number = 0;
    while (fgets(line, sizeof line, stdin)) {
        printf("%d: %s", ++number, line);
        fflush(stdout);
    }
    return 0;
}

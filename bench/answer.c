/* The program that both servers start: it reads one line, writes it back and
 * ends. Static and without stdio, so that what is measured is the server and
 * the kernel's exec and exit, and as little else as possible. */
#include <string.h>
#include <unistd.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

int main(void)
{
    char line[256];
    size_t length = 0;

#ifdef _WIN32
    _setmode(STDOUT_FILENO, _O_BINARY);
#endif
    while (length < sizeof line) {
        ssize_t count = read(STDIN_FILENO, line + length, sizeof line - length);
        if (count < 0)
            return 1;
        if (count == 0)
            break;
        char *end = memchr(line + length, '\n', (size_t)count);
        length += (size_t)count;
        if (end) {
            length = (size_t)(end - line) + 1;
            break;
        }
    }
    for (size_t done = 0; done < length;) {
        ssize_t count = write(STDOUT_FILENO, line + done, length - done);
        if (count <= 0)
            return 1;
        done += (size_t)count;
    }
    return 0;
}

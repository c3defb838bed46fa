/* serial_lock.dll: the lock of synchronous handles, which Wine lacks.
 *
 * Windows serialises all input and output on a synchronous file object: while
 * one thread of any process sits in a read, a write, a query or a last close
 * on the same object waits. Wine lets them pass. This DLL adds the lock, so
 * that a test sees when the server would wait for a program on real Windows.
 *
 * It hooks the system calls of ntdll in the server and in its programs. Both
 * name a connection by its client's port: the server asks the socket, and a
 * program has CLIENT_PORT in its environment. A named mutex is the lock.
 * A wait that lasts 50 ms becomes a line of the file that SERIAL_LOG names:
 *
 *   server waits in NtClose for port 4711
 *
 * A process that ends by itself also writes how many locks it took, so that a
 * test knows that the process was watched.
 */
#include <winsock2.h>
#include <windows.h>
#include <winternl.h>
#include <stdio.h>

enum {
    MODE_INFORMATION = 16,
    PIPE_LOCAL_INFORMATION = 24,
    DEVICE_INFORMATION = 4,
    BASIC_INFORMATION = 0,
    SYNCHRONOUS = 0x30,             /* FILE_SYNCHRONOUS_IO_ALERT, _NONALERT */
    DEVICE_NAMED_PIPE = 0x11,       /* as Wine describes a socket */
    DEVICE_NETWORK = 0x12,
    NOTICED_MS = 50,
};

typedef NTSTATUS(NTAPI *Transfer)(HANDLE, HANDLE, PVOID, PVOID, PVOID, PVOID, ULONG, PVOID, PVOID);
typedef NTSTATUS(NTAPI *Control)(HANDLE, HANDLE, PVOID, PVOID, PVOID, ULONG, PVOID, ULONG, PVOID, ULONG);
typedef NTSTATUS(NTAPI *Query)(HANDLE, PVOID, PVOID, ULONG, ULONG);
typedef NTSTATUS(NTAPI *Close)(HANDLE);
typedef NTSTATUS(NTAPI *QueryObject)(HANDLE, ULONG, PVOID, ULONG, ULONG *);

static Transfer real_read, real_write;
static Control real_control;
static Query real_query, real_query_volume;
static Close real_close;
static QueryObject query_object;

static DWORD inside;                /* thread-local: calls of the hooks themselves pass */
static HANDLE log_file;
static int own_port;                /* a program's connection; 0 in the server */
static LONG taken;

static const char *role(void) { return own_port ? "program" : "server"; }

static void write_line(const char *line)
{
    ULONG status[8];
    LARGE_INTEGER at_the_end = { .QuadPart = -1 };
    real_write(log_file, 0, 0, 0, status, (void *)line, strlen(line), &at_the_end, 0);
}

static void report_wait(const char *call, int port)
{
    char line[200];
    snprintf(line, sizeof line, "%s waits in %s for port %d\r\n", role(), call, port);
    write_line(line);
}

static void report_end(void)
{
    char line[100];
    snprintf(line, sizeof line, "%s took %ld locks\r\n", role(), taken);
    if (taken)
        write_line(line);
}

/* The client's port of a synchronous socket, 0 for any other handle. */
static int port_of(HANDLE handle)
{
    ULONG status[8], mode = 0, device[2] = { 0 };
    ULONG pipe[10];
    struct sockaddr_storage peer;
    int length = sizeof peer;
    if (real_query(handle, status, &mode, sizeof mode, MODE_INFORMATION) || !(mode & SYNCHRONOUS))
        return 0;
    if (real_query_volume(handle, status, device, sizeof device, DEVICE_INFORMATION))
        return 0;
    if (device[0] != DEVICE_NAMED_PIPE && device[0] != DEVICE_NETWORK)
        return 0;
    if (!real_query(handle, status, pipe, sizeof pipe, PIPE_LOCAL_INFORMATION))
        return 0;
    if (own_port)
        return own_port;
    if (getpeername((SOCKET)handle, (struct sockaddr *)&peer, &length))
        return 0;
    return ntohs(((struct sockaddr_in *)&peer)->sin_port);
}

/* Takes the connection's lock; null where there is none to take. */
static HANDLE take(HANDLE handle, const char *call)
{
    if (TlsGetValue(inside))
        return NULL;
    DWORD error = GetLastError();
    HANDLE lock = NULL;
    TlsSetValue(inside, (void *)1);
    int port = port_of(handle);
    if (port) {
        char name[32];
        snprintf(name, sizeof name, "serial-%d", port);
        lock = CreateMutexA(NULL, FALSE, name);
        if (WaitForSingleObject(lock, NOTICED_MS) == WAIT_TIMEOUT) {
            report_wait(call, port);
            WaitForSingleObject(lock, INFINITE);
        }
        InterlockedIncrement(&taken);
    }
    TlsSetValue(inside, NULL);
    SetLastError(error);
    return lock;
}

static void give(HANDLE lock)
{
    if (!lock)
        return;
    DWORD error = GetLastError();
    ReleaseMutex(lock);
    real_close(lock);
    SetLastError(error);
}

#define LOCKED(call)                       \
    HANDLE lock = take(handle, __func__);  \
    NTSTATUS status = call;                \
    give(lock);                            \
    return status

static NTSTATUS NTAPI NtReadFile_(HANDLE handle, HANDLE event, PVOID apc, PVOID context, PVOID io, PVOID buffer,
                                  ULONG length, PVOID offset, PVOID key)
{
    LOCKED(real_read(handle, event, apc, context, io, buffer, length, offset, key));
}

static NTSTATUS NTAPI NtWriteFile_(HANDLE handle, HANDLE event, PVOID apc, PVOID context, PVOID io, PVOID buffer,
                                   ULONG length, PVOID offset, PVOID key)
{
    LOCKED(real_write(handle, event, apc, context, io, buffer, length, offset, key));
}

static NTSTATUS NTAPI NtDeviceIoControlFile_(HANDLE handle, HANDLE event, PVOID apc, PVOID context, PVOID io,
                                             ULONG code, PVOID in, ULONG in_length, PVOID out, ULONG out_length)
{
    LOCKED(real_control(handle, event, apc, context, io, code, in, in_length, out, out_length));
}

static NTSTATUS NTAPI NtQueryInformationFile_(HANDLE handle, PVOID io, PVOID buffer, ULONG length, ULONG class)
{
    LOCKED(real_query(handle, io, buffer, length, class));
}

static NTSTATUS NTAPI NtQueryVolumeInformationFile_(HANDLE handle, PVOID io, PVOID buffer, ULONG length, ULONG class)
{
    LOCKED(real_query_volume(handle, io, buffer, length, class));
}

/* Windows takes the lock only where the object's last handle goes. */
static NTSTATUS NTAPI NtClose_(HANDLE handle)
{
    struct { ULONG attributes, access, handles, references, reserved[10]; } object = { 0 };
    ULONG length;
    if (TlsGetValue(inside) || query_object(handle, BASIC_INFORMATION, &object, sizeof object, &length) ||
        object.handles > 1)
        return real_close(handle);
    LOCKED(real_close(handle));
}

/* Puts `mine` in the place of a system call; `*real` calls what was there.
 * A system call's stub is 32 bytes long and can be run from anywhere. */
static void hook(const char *name, void *mine, void **real)
{
    unsigned char *stub = (void *)GetProcAddress(GetModuleHandleA("ntdll"), name);
    unsigned char *copy = VirtualAlloc(NULL, 64, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE);
    unsigned char jump[12] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0 }; /* mov rax, mine; jmp rax */
    DWORD protection;
    memcpy(copy, stub, 32);
    *real = copy;
    memcpy(jump + 2, &mine, sizeof mine);
    VirtualProtect(stub, sizeof jump, PAGE_EXECUTE_READWRITE, &protection);
    memcpy(stub, jump, sizeof jump);
    VirtualProtect(stub, sizeof jump, protection, &protection);
}

BOOL WINAPI DllMain(HINSTANCE library, DWORD why, void *reserved)
{
    (void)library, (void)reserved;
    if (why == DLL_PROCESS_DETACH)
        report_end();
    if (why != DLL_PROCESS_ATTACH)
        return TRUE;
    WSADATA winsock;
    char text[MAX_PATH] = "";
    WSAStartup(MAKEWORD(2, 2), &winsock);
    inside = TlsAlloc();
    if (GetEnvironmentVariableA("CLIENT_PORT", text, sizeof text))
        own_port = atoi(text);
    if (!GetEnvironmentVariableA("SERIAL_LOG", text, sizeof text))
        return FALSE;
    log_file = CreateFileA(text, FILE_APPEND_DATA | SYNCHRONIZE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                           OPEN_ALWAYS, 0, NULL);
    query_object = (QueryObject)(void *)GetProcAddress(GetModuleHandleA("ntdll"), "NtQueryObject");
    hook("NtQueryInformationFile", NtQueryInformationFile_, (void **)&real_query);
    hook("NtQueryVolumeInformationFile", NtQueryVolumeInformationFile_, (void **)&real_query_volume);
    hook("NtReadFile", NtReadFile_, (void **)&real_read);
    hook("NtWriteFile", NtWriteFile_, (void **)&real_write);
    hook("NtDeviceIoControlFile", NtDeviceIoControlFile_, (void **)&real_control);
    hook("NtClose", NtClose_, (void **)&real_close);
    return log_file != INVALID_HANDLE_VALUE;
}

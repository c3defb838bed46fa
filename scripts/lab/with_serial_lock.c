/* with_serial_lock.exe PROGRAM ARGUMENTS: runs the program with serial_lock.dll,
 * which stands beside this one, on the same standard handles. Ends with the
 * program's exit code, or with 98 or 99 where it cannot be run. */
#include <windows.h>
#include <stdio.h>

/* What follows our own name on the command line. */
static WCHAR *rest_of_command_line(void)
{
    WCHAR *rest = GetCommandLineW();
    if (*rest == '"')
        rest = wcschr(rest + 1, '"') + 1;
    else
        while (*rest && *rest != ' ')
            rest++;
    while (*rest == ' ')
        rest++;
    return rest;
}

/* Has a thread of the suspended process load the DLL. */
static DWORD load(HANDLE process)
{
    WCHAR path[MAX_PATH];
    GetModuleFileNameW(NULL, path, MAX_PATH);
    wcscpy(wcsrchr(path, '\\') + 1, L"serial_lock.dll");
    void *there = VirtualAllocEx(process, NULL, sizeof path, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    WriteProcessMemory(process, there, path, sizeof path, NULL);
    void *load_library = (void *)GetProcAddress(GetModuleHandleA("kernel32"), "LoadLibraryW");
    HANDLE thread = CreateRemoteThread(process, NULL, 0, load_library, there, 0, NULL);
    DWORD loaded = 0;
    WaitForSingleObject(thread, 10000);
    GetExitCodeThread(thread, &loaded);
    return loaded;
}

int main(void)
{
    STARTUPINFOW start = { .cb = sizeof start, .dwFlags = STARTF_USESTDHANDLES };
    PROCESS_INFORMATION process;
    DWORD code = 0;
    start.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!CreateProcessW(NULL, rest_of_command_line(), NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &start,
                        &process)) {
        printf("cannot start the program: error %lu\n", GetLastError());
        return 99;
    }
    if (!load(process.hProcess)) {
        printf("the program cannot load serial_lock.dll\n");
        TerminateProcess(process.hProcess, 98);
        return 98;
    }
    /* Of the connection only the program has handles from here on. */
    CloseHandle(start.hStdInput);
    CloseHandle(start.hStdOutput);
    CloseHandle(start.hStdError);
    ResumeThread(process.hThread);
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    return code;
}

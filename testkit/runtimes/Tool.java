// What a program in Java does with its standard streams: see tests/runtimes.rs.
import java.io.InputStream;
import java.io.OutputStream;

class Tool {
    static final int BYTES = 1 << 20;

    public static void main(String[] what) throws Exception {
        InputStream in = System.in;
        OutputStream out = System.out;
        switch (what[0]) {
            case "echo" -> {
                byte[] buffer = new byte[65536];
                for (int count; (count = in.read(buffer)) >= 0; out.flush()) out.write(buffer, 0, count);
                out.write("end".getBytes());
            }
            case "duplex" -> {
                Thread writer = new Thread(() -> {
                    try {
                        out.write(new byte[BYTES]);
                        out.flush();
                    } catch (Exception error) {
                        throw new RuntimeException(error);
                    }
                });
                writer.start();
                long read = in.transferTo(OutputStream.nullOutputStream());
                writer.join();
                out.write(("" + read).getBytes());
            }
            default -> System.exit(64);
        }
        out.flush();
    }
}

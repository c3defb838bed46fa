// What a program for .NET does with its standard streams: see tests/runtimes.rs.
using System;
using System.IO;
using System.Text;
using System.Threading;

class Tool
{
    const int Bytes = 1 << 20;

    static int Main(string[] what)
    {
        Stream input = Console.OpenStandardInput(), output = Console.OpenStandardOutput();
        byte[] buffer = new byte[65536];
        int count;
        switch (what[0])
        {
            case "echo":
                while ((count = input.Read(buffer, 0, buffer.Length)) > 0) output.Write(buffer, 0, count);
                Say(output, "end");
                return 0;
            case "duplex":
                var writer = new Thread(() => output.Write(new byte[Bytes], 0, Bytes));
                writer.Start();
                long read = 0;
                while ((count = input.Read(buffer, 0, buffer.Length)) > 0) read += count;
                writer.Join();
                Say(output, read.ToString());
                return 0;
            default:
                return 64;
        }
    }

    static void Say(Stream output, string text)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(text);
        output.Write(bytes, 0, bytes.Length);
    }
}

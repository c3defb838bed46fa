//! The property list with which launchd starts the server on macOS.

use std::path::Path;

use crate::config::stored::{StartType, Stored};

pub(super) struct LaunchdJob<'a> {
    pub(super) name: &'a str,
    pub(super) program: &'a Path,
    pub(super) options: &'a Stored,
    pub(super) account: Option<&'a str>,
    pub(super) start: StartType,
}

impl LaunchdJob<'_> {
    pub(super) fn text(&self) -> String {
        let program = self.program.as_os_str().to_owned();
        let words: String = std::iter::once(program)
            .chain(self.options.arguments())
            .map(|word| format!("        <string>{}</string>\n", escaped(&word.to_string_lossy())))
            .collect();
        let account = self.account.map_or(String::new(), |name| {
            format!("    <key>UserName</key>\n    <string>{}</string>\n", escaped(name))
        });
        let at_load = if self.start == StartType::Manual { "<false/>" } else { "<true/>" };
        format!(
            "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<plist version=\"1.0\">
<dict>
    <key>Label</key>
    <string>{}</string>
    <key>ProgramArguments</key>
    <array>
{words}    </array>
{account}    <key>RunAtLoad</key>
    {at_load}
    <key>KeepAlive</key>
    <dict>
        <key>Crashed</key>
        <true/>
    </dict>
    <key>ExitTimeOut</key>
    <integer>20</integer>
    <key>AbandonProcessGroup</key>
    <false/>
</dict>
</plist>
",
            escaped(self.name)
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Command, account and start of a job that `LaunchdJob` wrote. `None` for any other text.
pub(super) fn words(text: &str) -> Option<(Vec<String>, Option<String>, StartType)> {
    let plain = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let string = |line: &str| Some(plain(line.trim().strip_prefix("<string>")?.strip_suffix("</string>")?));
    let behind = |key: &str| {
        let (_, rest) = text.split_once(&format!("<key>{key}</key>\n"))?;
        Some(rest)
    };
    let (array, _) = behind("ProgramArguments")?.split_once("</array>")?;
    let words = array.lines().filter_map(string).collect();
    let account = behind("UserName").and_then(|rest| string(rest.lines().next()?));
    let start = behind("RunAtLoad")?.trim_start();
    let start = if start.starts_with("<true/>") { StartType::Auto } else { StartType::Manual };
    Some((words, account, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_starts_the_program_with_its_options() {
        let options = Stored { cfgfile: Some("/etc/a&b.conf".into()), ..Stored::default() };
        let program = Path::new("/usr/local/sbin/wininetd");
        let job = LaunchdJob {
            name: "wininetd",
            program,
            options: &options,
            account: None,
            start: StartType::Auto,
        };
        let text = job.text();
        let words = "<string>/usr/local/sbin/wininetd</string>\n        <string>--cfgfile</string>\n        <string>/etc/a&amp;b.conf</string>\n";
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("UserName"));
    }
}

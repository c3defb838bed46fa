//! A Windows service registers, starts, stops and is removed, with correct states and exit codes.
//! The tests need an elevated prompt.
#![cfg(windows)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::TcpListener;

use testkit::service::{Service, has_key, set_access};
use testkit::{Builder, Client, Gate, free_port, probe, run};
use windows_service::service::{ServiceExitCode, ServiceStartType, ServiceState};

fn line(port: u16, what: &str) -> String {
    format!("{port} none {}", probe(what))
}

fn said(port: u16) -> Vec<String> {
    vec![line(port, "say yes")]
}

#[test]
fn installed_service_starts_serves_stops_and_is_removed() {
    let port = free_port();
    let service = Service::new(&said(port));
    let installed = service.install(&[]);
    assert!(installed.output.contains(&format!("net start {}", service.name)), "{}", installed.output);
    assert_eq!(service.status().current_state, ServiceState::Stopped);
    assert_eq!(service.start(&[]).current_state, ServiceState::Running);
    // The state is `Running` only when clients are served.
    assert_eq!(Client::connect(port).read_text(), "yes");
    let event_source = format!(r"SYSTEM\CurrentControlSet\Services\EventLog\Application\{}", service.name);
    assert!(has_key(&event_source));
    let stopped = service.stop();
    assert_eq!(stopped.current_state, ServiceState::Stopped);
    assert_eq!(stopped.exit_code, ServiceExitCode::Win32(0));
    assert_eq!(service.event("stopping")["reason"], "the service was stopped");
    let removed = service.verb(&["--remove"]);
    assert_eq!(removed.code, Some(0), "{}", removed.errors);
    assert!(!service.is_registered());
    for key in [
        event_source,
        format!(r"SYSTEM\CurrentControlSet\Services\{}", service.name),
        format!(r"SOFTWARE\wininetd\{}", service.name),
    ] {
        assert!(!has_key(&key), "{key}");
    }
    assert!(service.file("wininetd.conf").exists());
}

#[test]
fn a_running_service_is_stopped_before_it_is_removed() {
    let port = free_port();
    let service = Service::new(&said(port));
    service.install(&[]);
    service.start(&[]);
    assert_eq!(service.verb(&["--remove"]).code, Some(0));
    assert!(!service.is_registered());
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[test]
fn removing_a_missing_service_exits_with_0() {
    let service = Service::new(&[]);
    let removed = service.verb(&["--remove"]);
    assert_eq!((removed.code, &*removed.output), (Some(0), "not installed\n"));
}

#[test]
fn registration_is_quoted_and_starts_automatically() {
    let service = Service::new(&said(free_port()));
    service.install(&["--timeout", "7"]);
    let config = service.config();
    let command = config.executable_path.display().to_string();
    assert!(command.starts_with('"') && command.contains("wininetd.exe\" --cfgfile "), "{command}");
    assert!(command.contains(" --timeout 7 "), "{command}");
    assert_eq!(config.start_type, ServiceStartType::AutoStart);
}

#[test]
fn installed_again_with_one_option_only_that_changes() {
    let service = Service::new(&said(free_port()));
    service.install(&["--timeout", "7", "--start", "manual"]);
    let before = service.config();
    let again = service.verb(&["--install", "--linger-timeout", "3"]);
    assert_eq!(again.code, Some(0), "{}", again.errors);
    assert!(again.output.contains("options: was ") && again.output.contains("now "), "{}", again.output);
    assert!(!again.output.contains("account:") && !again.output.contains("start:"), "{}", again.output);
    let mut after = service.config();
    assert_eq!(after.start_type, ServiceStartType::OnDemand);
    let command = after.executable_path.display().to_string();
    assert_eq!(command.replace(" --linger-timeout 3", ""), before.executable_path.display().to_string());
    assert_ne!(after.executable_path, before.executable_path);
    after.executable_path = before.executable_path.clone();
    assert_eq!(after.account_name, before.account_name);
    assert!(service.verb(&["--install"]).output.starts_with("unchanged: "));
}

#[test]
fn a_log_file_in_a_missing_folder_is_not_registered() {
    let service = Service::new(&said(free_port()));
    let log = service.file("none").join("w.log").display().to_string();
    let refused = service.verb(&["--install", "--log-file", &log]);
    assert_eq!(refused.code, Some(66), "{}", refused.errors);
    assert!(refused.errors.contains("mkdir"), "{}", refused.errors);
    assert!(!service.is_registered());
}

#[test]
fn a_changed_registration_of_a_running_service_says_what_runs() {
    let service = Service::new(&said(free_port()));
    let installed = service.install(&[]);
    assert!(installed.output.contains("start it with: net start"), "{}", installed.output);
    service.start(&[]);
    let folder = service.file("a b");
    std::fs::create_dir(&folder).unwrap();
    let log = folder.join("w.log").display().to_string();
    let changed = service.verb(&["--install", "--log-file", &log]).output;
    assert!(
        changed.contains("it still runs with the previous options") && !changed.contains("start it with"),
        "{changed}"
    );
    assert!(changed.contains(&format!("--log-file \"{log}\"")), "{changed}");
    let unchanged = service.verb(&["--install"]).output;
    assert!(unchanged.contains("it runs\n"), "{unchanged}");
}

#[test]
fn findings_of_the_file_are_no_warnings_of_warnings() {
    let mut lines = said(free_port());
    lines.push("  9 none indented".to_owned());
    let installed = Service::new(&lines).install(&[]).output;
    let found = installed.lines().find(|line| line.contains("does not begin with a digit")).unwrap();
    assert_eq!(found.matches("warning:").count(), 1, "{installed}");
}

#[test]
fn a_missing_configuration_file_is_spoken_of_once() {
    let service = Service::new(&said(free_port()));
    let config = service.file("none").join("w.conf").display().to_string();
    let installed = service.verb(&["--install", "--cfgfile", &config]).output;
    let warnings: Vec<&str> = installed.lines().filter(|line| line.contains("warning:")).collect();
    let of_file = warnings.iter().filter(|line| line.contains("w.conf")).count();
    assert_eq!(of_file, 1, "{installed}");
}

#[test]
fn the_account_is_kept_until_another_is_given() {
    let service = Service::new(&said(free_port()));
    service.install(&["--account", "localservice"]);
    let account = || service.config().account_name.unwrap().to_string_lossy().to_lowercase();
    assert_eq!(account(), r"nt authority\localservice");
    service.verb(&["--install", "--timeout", "9"]);
    assert_eq!(account(), r"nt authority\localservice");
    let changed = service.verb(&["--install", "--account", "LocalSystem"]);
    assert!(changed.output.contains("account: was "), "{}", changed.output);
    assert_eq!(account(), "localsystem");
}

#[test]
fn foreign_virtual_account_is_refused_without_changes() {
    let service = Service::new(&[]);
    let refused = service.verb(&["--install", "--account", r"NT SERVICE\somebody"]);
    assert_eq!(refused.code, Some(64), "{}", refused.errors);
    assert!(!service.is_registered());
}

#[test]
fn start_with_a_broken_file_fails_and_names_the_position() {
    let service = Service::new(&said(free_port()));
    service.install(&[]);
    service.write(&["# a comment".to_owned(), "80  none".to_owned()]);
    let status = service.start(&[]);
    assert_eq!(status.current_state, ServiceState::Stopped);
    assert_eq!(status.exit_code, ServiceExitCode::ServiceSpecific(78));
    let config = service.file("wininetd.conf").display().to_string();
    let checked = run(&["--check", "--cfgfile", &config]).errors;
    let place = format!("{config}:2:5: ");
    assert!(checked.contains(&place), "{checked}");
    assert!(service.event("start_failed")["message"].as_str().unwrap().contains(&place));
    let port = free_port();
    service.write(&said(port));
    assert_eq!(service.start(&[]).current_state, ServiceState::Running);
    assert_eq!(Client::connect(port).read_text(), "yes");
}

#[test]
fn a_missing_file_fails_with_66() {
    let service = Service::new(&said(free_port()));
    service.install(&[]);
    std::fs::remove_file(service.file("wininetd.conf")).unwrap();
    assert_eq!(service.start(&[]).exit_code, ServiceExitCode::ServiceSpecific(66));
}

#[test]
fn start_parameters_win_over_stored_options() {
    let (stored, typed) = (free_port(), free_port());
    let service = Service::new(&said(stored));
    service.install(&[]);
    let other = service.file("other.conf");
    std::fs::write(&other, line(typed, "say typed")).unwrap();
    service.start(&["--cfgfile", &other.display().to_string()]);
    assert_eq!(Client::connect(typed).read_text(), "typed");
    service.stop();
    // The parameter applied to the previous start only.
    service.start(&[]);
    assert_eq!(Client::connect(stored).read_text(), "yes");
}

#[test]
fn a_verb_or_an_unknown_start_parameter_ends_the_start_with_64() {
    let service = Service::new(&said(free_port()));
    service.install(&[]);
    for parameter in ["--debug", "--nonsense"] {
        let status = service.start(&[parameter]);
        assert_eq!(status.exit_code, ServiceExitCode::ServiceSpecific(64), "{parameter}");
    }
}

#[test]
fn service_is_running_only_once_all_ports_listen() {
    let (free, taken) = (free_port(), free_port());
    let holder = TcpListener::bind(("0.0.0.0", taken)).unwrap();
    let service = Service::new(&[line(free, "say free"), line(taken, "say taken")]);
    service.install(&["--bind", "0.0.0.0"]);
    service.request_start(&[]);
    service.event("listen_failed");
    assert_eq!(service.status().current_state, ServiceState::StartPending);
    assert_eq!(Client::connect(free).read_text(), "free");
    drop(holder);
    assert_eq!(service.settled(ServiceState::StartPending).current_state, ServiceState::Running);
    assert_eq!(Client::connect(taken).read_text(), "taken");
}

#[test]
fn stop_is_pending_during_the_grace_period() {
    let (port, gate) = (free_port(), Gate::new());
    let service = Service::new(&[line(port, &format!("gate {}", gate.address()))]);
    service.install(&[]);
    service.start(&[]);
    let client = Client::connect(port);
    let visitor = gate.visitor();
    let removed = std::thread::scope(|scope| {
        let removed = scope.spawn(|| service.verb(&["--remove"]));
        let pending = service.reaches(ServiceState::StopPending);
        assert!(pending.wait_hint.as_secs() >= 2, "{pending:?}");
        drop((visitor, client));
        removed.join().unwrap()
    });
    assert_eq!(removed.code, Some(0), "{}", removed.errors);
}

#[test]
fn killed_service_loses_its_trees_and_restarts_at_once() {
    let (port, gate) = (free_port(), Gate::new());
    let service = Service::new(&[line(port, &format!("tree {}", gate.address()))]);
    service.install(&[]);
    service.start(&[]);
    let _client = Client::connect(port);
    let tree = [gate.visitor(), gate.visitor()];
    end(service.status().process_id.expect("its process"));
    for visitor in tree {
        visitor.wait_gone();
    }
    service.request_start(&[]);
    assert_eq!(service.settled(ServiceState::StartPending).current_state, ServiceState::Running);
    let _client = Client::connect(port);
    assert!(gate.visitor().pid > 0);
}

fn end(pid: u32) {
    use windows_sys::Win32::Foundation::CloseHandle;
    use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_TERMINATE, TerminateProcess};
    // SAFETY: no pointers. The handle is owned here.
    unsafe {
        let process = OpenProcess(PROCESS_TERMINATE, 0, pid);
        assert!(TerminateProcess(process, 1) != 0, "{}", std::io::Error::last_os_error());
        CloseHandle(process);
    }
}

#[test]
fn service_refuses_a_world_writable_file_and_a_console_warns() {
    let port = free_port();
    let service = Service::new(&said(port));
    service.install(&[]);
    set_access(&service.file("wininetd.conf"), "D:(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)");
    let status = service.start(&[]);
    assert_eq!(status.exit_code, ServiceExitCode::ServiceSpecific(78));
    let message = service.event("start_failed")["message"].to_string();
    assert!(message.contains("icacls") && message.contains("S-1-1-0"), "{message}");
    let config = service.file("wininetd.conf").display().to_string();
    let daemon = Builder::new(&[]).arguments(&["--cfgfile", &config]).start();
    daemon.event("configuration", |event| event["message"].to_string().contains("can change this file"));
    assert_eq!(Client::connect(port).read_text(), "yes");
}

#[test]
fn world_writable_program_is_not_registered() {
    let service = Service::new(&[]);
    set_access(&service.program(), "D:(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)");
    let refused = service.verb(&["--install"]);
    assert_eq!(refused.code, Some(77));
    assert!(refused.errors.contains("icacls"), "{}", refused.errors);
    assert!(!service.is_registered());
}

#[test]
fn a_user_without_an_account_leaves_no_half_registration() {
    let service = Service::new(&said(free_port()));
    let refused = service.verb_with_input(&["--install", "--account", "no-such-user"], "secret\r\n");
    assert_ne!(refused.code, Some(0));
    assert!(!service.is_registered());
    // A failed change of an existing registration changes nothing and is reported.
    service.install(&[]);
    let before = service.config();
    let words = ["--install", "--account", "no-such-user", "--timeout", "9", "--start", "manual"];
    let refused = service.verb_with_input(&words, "secret\r\n");
    assert_ne!(refused.code, Some(0));
    let after = service.config();
    assert_eq!(after.account_name, before.account_name);
    assert_eq!((after.executable_path, after.start_type), (before.executable_path, before.start_type));
    assert!(!refused.errors.contains("secret") && !refused.output.contains("secret"));
}

#[test]
fn readable_passwords_are_warned_of_but_stored_ones_are_not() {
    let service = Service::new(&["80 davide:secret cmd".to_owned()]);
    let config = service.file("wininetd.conf");
    let check = || {
        set_access(&config, "D:(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;WD)");
        run(&["--check", "--cfgfile", &config.display().to_string()]).output
    };
    let said = check();
    assert!(said.contains("read this file, which holds passwords") && said.contains("icacls"), "{said}");
    service.write(&["80 davide:{stored} cmd".to_owned()]);
    assert!(!check().contains("holds passwords"));
}

#[test]
fn administrator_changes_to_the_service_are_kept() {
    let service = Service::new(&said(free_port()));
    service.install(&[]);
    service.disable();
    let again = service.verb(&["--install", "--timeout", "9"]);
    assert_eq!(again.code, Some(0), "{}", again.errors);
    assert!(!again.output.contains("start: "), "{}", again.output);
    assert_eq!(service.config().start_type, ServiceStartType::Disabled);
    assert_eq!(service.config().display_name, "by hand");
}

#[test]
fn another_programs_service_is_neither_changed_nor_removed() {
    let service = Service::new(&[]);
    service.register_stranger();
    for verb in ["--install", "--remove"] {
        let refused = service.verb(&[verb]);
        assert_eq!(refused.code, Some(78), "{}", refused.errors);
        assert!(refused.errors.contains("is not wininetd"), "{}", refused.errors);
    }
    assert!(service.config().executable_path.display().to_string().contains("cmd.exe"));
    service.delete();
}

#[test]
fn service_can_be_stopped_while_a_port_is_retried() {
    let taken = free_port();
    let _holder = TcpListener::bind(("0.0.0.0", taken)).unwrap();
    let service = Service::new(&said(taken));
    service.install(&["--bind", "0.0.0.0"]);
    service.request_start(&[]);
    service.event("listen_failed");
    let removed = service.verb(&["--remove"]);
    assert_eq!(removed.code, Some(0), "{} {}", removed.errors, removed.output);
    assert!(!service.is_registered());
}

#[test]
fn a_stored_command_line_that_is_not_understood_fails_with_64() {
    let service = Service::new(&said(free_port()));
    service.install(&[]);
    service.set_command_line(&format!("\"{}\" --of-a-later-version", service.program().display()));
    let status = service.start(&[]);
    assert_eq!(status.exit_code, ServiceExitCode::ServiceSpecific(64));
    service.delete();
}

#[test]
fn the_firewall_has_a_rule_for_each_port_until_it_is_not_wanted() {
    let (first, second) = (free_port(), free_port());
    let service = Service::new(&[line(first, "say yes"), line(second, "say yes")]);
    let installed = service.install(&["--firewall"]);
    for port in [first, second] {
        let rule = format!("port {port} is open to the domain and private profiles");
        assert!(installed.output.contains(&rule), "{}", installed.output);
    }
    let command = || service.config().executable_path.display().to_string();
    assert!(command().contains(" --firewall"), "{}", command());
    service.verb(&["--install", "--firewall=no"]);
    assert!(!command().contains("--firewall"), "{}", command());
}

#[test]
fn the_batch_right_is_granted_to_accounts_that_exist() {
    let own = std::env::var("USERNAME").unwrap();
    let granted = run(&["--grant-batch-right", &own]);
    assert_eq!(granted.code, Some(0), "{}", granted.errors);
    let refused = run(&["--grant-batch-right", "no-such-user"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.errors.contains("no-such-user"), "{}", refused.errors);
}

#[test]
fn without_a_file_an_example_is_written_that_serves_nothing() {
    let service = Service::new(&[]);
    let config = service.file("new.conf");
    let installed = service.verb(&["--install", "--cfgfile", &config.display().to_string()]);
    assert!(installed.output.contains("an example"), "{}", installed.output);
    let checked = run(&["--check", "--cfgfile", &config.display().to_string()]);
    assert_eq!(checked.code, Some(0), "{}", checked.errors);
    assert!(checked.output.contains("0 services"), "{}", checked.output);
}

#[test]
fn message_file_covers_every_event_safely() {
    let service = Service::new(&said(free_port()));
    service.install(&[]);
    let library = service.file("wininetd-events.dll");
    for id in [1, 2, 3, 4, 5, 10, 20, 21, 22, 23, 24, 30, 31, 32, 40, 41] {
        let text = message(&library, id);
        assert!(text.ends_with("\r\n\r\n%1!S!\r\n") && text.len() > 25, "{id}: {text:?}");
    }
}

/// The text of a message number with its insertions unexpanded.
fn message(library: &std::path::Path, id: u32) -> String {
    use std::os::windows::ffi::OsStrExt;
    use windows_sys::Win32::Foundation::FreeLibrary;
    use windows_sys::Win32::System::Diagnostics::Debug::{
        FORMAT_MESSAGE_FROM_HMODULE, FORMAT_MESSAGE_IGNORE_INSERTS, FormatMessageW,
    };
    use windows_sys::Win32::System::LibraryLoader::{LOAD_LIBRARY_AS_DATAFILE, LoadLibraryExW};
    let path: Vec<u16> = library.as_os_str().encode_wide().chain([0]).collect();
    let mut text = [0u16; 1024];
    // SAFETY: the path ends with NUL, and the buffer is as long as the call says.
    unsafe {
        let library = LoadLibraryExW(path.as_ptr(), std::ptr::null_mut(), LOAD_LIBRARY_AS_DATAFILE);
        assert!(!library.is_null(), "{}", std::io::Error::last_os_error());
        let how = FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_IGNORE_INSERTS;
        let length =
            FormatMessageW(how, library.cast_const(), id, 0x409, text.as_mut_ptr(), 1024, std::ptr::null());
        FreeLibrary(library);
        String::from_utf16_lossy(&text[..length as usize])
    }
}

#[test]
fn changed_parameters_and_reload_make_it_read_its_file_again() {
    let (one, two, three) = (free_port(), free_port(), free_port());
    let service = Service::new(&said(one));
    service.install(&[]);
    service.start(&[]);
    assert_eq!(Client::connect(one).read_text(), "yes");
    service.write(&[line(two, "say two")]);
    service.parameters_changed();
    service.event("reloaded");
    assert_eq!(Client::connect(two).read_text(), "two");
    service.write(&[line(three, "say three")]);
    let answer = service.verb(&["--reload"]);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    assert_eq!(Client::connect(three).read_text(), "three");
    service.write(&["99999 none x".to_owned()]);
    let answer = service.verb(&["--reload"]);
    assert_eq!(answer.code, Some(78), "{}", answer.errors);
    assert!(answer.errors.contains(":1:1: 99999 is not a port"), "{}", answer.errors);
    let status = service.verb(&["--status"]);
    assert!(status.output.contains(&three.to_string()), "{}{}", status.output, status.errors);
    service.stop();
}

//! The fields of an inetd.conf line, in the dialects of OpenBSD, Debian, FreeBSD, NetBSD and GNU.

use std::net::IpAddr;

use crate::convert::words::listed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `tcp`: one family or both, depending on the dialect.
    Unsaid,
    V4,
    /// `tcp6`: IPv6 or both, depending on the dialect.
    V6,
    OnlyV6,
    Both,
    Unix,
}

/// The family of a protocol field. `None` if the server cannot serve the protocol.
pub(super) fn family(protocol: &str) -> Option<Family> {
    match protocol.split([',', '/']).next().unwrap_or_default() {
        _ if protocol.contains("/ttcp") || protocol.starts_with("rpc/") => None,
        "tcp" => Some(Family::Unsaid),
        "tcp4" => Some(Family::V4),
        "tcp6" => Some(Family::V6),
        "tcp6only" => Some(Family::OnlyV6),
        "tcp46" => Some(Family::Both),
        "unix" => Some(Family::Unix),
        _ => None,
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Concurrent programs.
    pub at_once: Option<u32>,
    pub at_once_per_source: Option<u32>,
    /// Starts per minute.
    pub a_minute: Option<u32>,
    pub a_minute_per_source: Option<u32>,
}

/// Parses `nowait`, `nowait.MAX`, `nowait:MAX` (starts per minute) and FreeBSD's
/// `nowait/CHILDREN/A-MINUTE/CHILDREN-PER-SOURCE`. 0 means no limit.
pub(super) fn bounds(text: &str) -> Option<Bounds> {
    let rest = text.strip_prefix("nowait")?;
    let number = |text: &str| text.parse::<u32>().ok();
    if rest.is_empty() {
        return Some(Bounds::default());
    }
    if let Some(rate) = rest.strip_prefix(['.', ':']) {
        let a_minute = Some(number(rate)?).filter(|&rate| rate > 0);
        return Some(Bounds { a_minute, ..Bounds::default() });
    }
    let numbers: Vec<u32> = rest.strip_prefix('/')?.split('/').map(number).collect::<Option<_>>()?;
    if numbers.len() > 3 {
        return None;
    }
    let bound = |at: usize| numbers.get(at).copied().filter(|&bound| bound > 0);
    Some(Bounds {
        at_once: bound(0),
        a_minute: None,
        a_minute_per_source: bound(1),
        at_once_per_source: bound(2),
    })
}

/// The field `user`, `user:group` or `user.group`. On FreeBSD `/login-class` may follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserField<'a> {
    pub user: &'a str,
    pub group: Option<&'a str>,
    pub class: Option<&'a str>,
}

pub(super) fn owner(text: &str) -> UserField<'_> {
    let (text, class) = match text.split_once('/') {
        Some((text, class)) => (text, Some(class)),
        None => (text, None),
    };
    let (user, group) = match text.split_once(':').or_else(|| text.split_once('.')) {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    UserField { user, group: group.filter(|group| !group.is_empty()), class }
}

/// Without addresses the list is empty. The error is the invalid address.
pub(super) fn addresses(field: &str) -> (Result<Vec<IpAddr>, &str>, &str) {
    let Some((hosts, name)) = field.rsplit_once(':') else { return (Ok(Vec::new()), field) };
    (listed(hosts), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_in_each_dialect() {
        assert_eq!(bounds("nowait"), Some(Bounds::default()));
        assert_eq!(bounds("nowait.40"), Some(Bounds { a_minute: Some(40), ..Bounds::default() }));
        assert_eq!(bounds("nowait:40"), bounds("nowait.40"));
        let freebsd = Bounds {
            at_once: Some(5),
            at_once_per_source: Some(2),
            a_minute: None,
            a_minute_per_source: Some(60),
        };
        assert_eq!(bounds("nowait/5/60/2"), Some(freebsd));
        assert_eq!(bounds("nowait/0"), Some(Bounds::default()));
        for wrong in ["wait", "nowait/", "nowait/x", "nowait.", "nowaits", "nowait/1/2/3/4"] {
            assert_eq!(bounds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn users_have_groups_and_classes() {
        let parts = |text| {
            let UserField { user, group, class } = owner(text);
            (user, group, class)
        };
        assert_eq!(parts("root"), ("root", None, None));
        assert_eq!(parts("nobody:www-data"), ("nobody", Some("www-data"), None));
        assert_eq!(parts("sys.adm"), ("sys", Some("adm"), None));
        assert_eq!(parts("root/daemon"), ("root", None, Some("daemon")));
        assert_eq!(parts("a:b/c"), ("a", Some("b"), Some("c")));
    }

    #[test]
    fn addresses_stand_before_the_name() {
        let read = |field| {
            let (addresses, name) = addresses(field);
            let shown =
                |addresses: Vec<IpAddr>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
            (addresses.map(shown), name.to_owned())
        };
        assert_eq!(read("ftp"), (Ok(vec![]), "ftp".to_owned()));
        assert_eq!(read("*:ftp"), (Ok(vec![]), "ftp".to_owned()));
        assert_eq!(read("127.0.0.1,[::1]:21"), (Ok(vec!["127.0.0.1".into(), "::1".into()]), "21".to_owned()));
        assert_eq!(read("apples:21"), (Err("apples"), "21".to_owned()));
    }
}

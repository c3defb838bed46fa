//! Leading zeros in addresses, networks and ports. Some programs read `010` as eight, others as
//! ten, so the server accepts none.

/// The text without leading zeros, or `None` if no decimal number has one. IPv6 groups are
/// hexadecimal and keep their zeros.
pub fn without_leading_zeros(text: &str) -> Option<String> {
    let host_end = match text.find(']') {
        Some(bracket) => bracket + 1,
        None if text.matches(':').count() == 1 => text.find(':').unwrap_or(text.len()),
        None => text.find('/').unwrap_or(text.len()),
    };
    let (host, behind) = text.split_at(host_end);
    let groups_end = match host.rfind(':') {
        None => 0,
        // An IPv4 address may follow the groups.
        Some(colon) if host[colon..].contains('.') => colon + 1,
        Some(_) => host.find('%').unwrap_or(host.len()),
    };
    let (groups, decimal) = host.split_at(groups_end);
    let plain = [groups, &plain_numbers(decimal), &plain_numbers(behind)].concat();
    (plain != text).then_some(plain)
}

fn plain_numbers(text: &str) -> String {
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
    let plain = words.map(|word| {
        let end = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric()).len();
        let (digits, separator) = word.split_at(end);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return word.to_owned();
        }
        let number = digits.trim_start_matches('0');
        format!("{}{separator}", if number.is_empty() { "0" } else { number })
    });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_lose_their_leading_zeros() {
        for (text, plain) in [
            ("010.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.010", "10.0.0.10"),
            ("10.00.0.0/08", "10.0.0.0/8"),
            ("010.0.0.1:0080", "10.0.0.1:80"),
            ("080", "80"),
            ("2001:db8::/032", "2001:db8::/32"),
            ("::ffff:010.0.0.1", "::ffff:10.0.0.1"),
            ("[2001:0db8::1]:0080", "[2001:0db8::1]:80"),
            ("[fe80::1%02]:80", "[fe80::1%2]:80"),
            ("10.0.{01,2}", "10.0.{1,2}"),
        ] {
            assert_eq!(without_leading_zeros(text).as_deref(), Some(plain), "{text}");
        }
    }

    #[test]
    fn groups_of_ipv6_and_names_keep_their_zeros() {
        for text in
            ["", "0", "0.0.0.0/0", "0.0.0.0:0", "2001:0db8::0001", "[0::01]:80", "::/0", "host01:80", "*:80"]
        {
            assert_eq!(without_leading_zeros(text), None, "{text}");
        }
    }
}

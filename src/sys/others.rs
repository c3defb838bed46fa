//! Accounts and groups that can change or read something of the server's.

/// Who, beside administrators and ourselves, can change something, or read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Those who may be anybody: what they can change is not trusted.
    pub anyone: Vec<Other>,
    /// Single accounts and groups, which somebody may have meant.
    pub some: Vec<Other>,
}

/// An account or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name, for people.
    pub name: String,
    /// As the system's own tools take it.
    pub id: String,
}

impl Others {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.anyone.is_empty() && self.some.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Other> {
        self.anyone.iter().chain(&self.some)
    }

    /// Their names, for a sentence.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.iter().map(|other| &*other.name).collect();
        names.join(", ")
    }
}

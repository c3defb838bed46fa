//! Accounts and groups that can change or read a file or folder.

/// Excludes administrators and the server's own account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// May include any user: the server does not trust what they can change.
    pub anyone: Vec<Other>,
    /// Single accounts and groups, possibly authorized on purpose.
    pub some: Vec<Other>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    pub name: String,
    /// As the system's own tools accept it.
    pub id: String,
}

impl Others {
    pub fn is_empty(&self) -> bool {
        self.anyone.is_empty() && self.some.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Other> {
        self.anyone.iter().chain(&self.some)
    }

    pub fn names(&self) -> String {
        let names: Vec<&str> = self.iter().map(|other| &*other.name).collect();
        names.join(", ")
    }
}

//! Policies of a table, and the condition that they make together.

use super::acl::PUBLIC;

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    All,
    Select,
    Insert,
    Update,
    Delete,
}

/// As statements and rows say it, and as `pg_policy.polcmd` does.
const WORDS: [(For, &str, &str); 5] = [
    (For::All, "ALL", "*"),
    (For::Select, "SELECT", "r"),
    (For::Insert, "INSERT", "a"),
    (For::Update, "UPDATE", "w"),
    (For::Delete, "DELETE", "d"),
];

impl For {
    /// What a word in upper case says.
    pub(crate) fn of_word(word: &str) -> Option<For> {
        WORDS.iter().find(|(_, known, _)| *known == word).map(|(command, ..)| *command)
    }

    pub(crate) fn word(self) -> &'static str {
        WORDS.iter().find(|(known, ..)| *known == self).map_or("", |(_, word, _)| word)
    }

    pub(crate) fn letter(self) -> &'static str {
        WORDS.iter().find(|(known, ..)| *known == self).map_or("", |(.., letter)| letter)
    }
}

/// A policy of row-level security.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Never used again.
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) command: For,
    /// All of these must let a row pass, of the others one.
    pub(crate) restrictive: bool,
    /// Whom it is for; [`PUBLIC`]: everybody.
    pub(crate) roles: Vec<u32>,
    /// Text of the expression of USING: which rows are there.
    pub(crate) using: Option<String>,
    /// Of WITH CHECK: which rows may be written. Without it USING says so.
    pub(crate) check: Option<String>,
    /// The tables that the expressions read, as [`super::Object::text`] writes them.
    pub(crate) reads: Vec<String>,
}

impl Policy {
    fn seen(&self) -> Option<&str> {
        self.using.as_deref()
    }

    fn written(&self) -> Option<&str> {
        self.check.as_deref().or(self.using.as_deref())
    }
}

/// Row-level security of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) enabled: bool,
    pub(crate) policies: Vec<Policy>,
}

/// A question that policies answer of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Whether a command finds it.
    Seen(For),
    /// Whether a command may write it.
    Written(For),
}

/// The condition of policies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clause<'a> {
    pub(super) text: String,
    /// The expressions in it.
    pub(super) parts: Vec<&'a str>,
    /// The tables that they read.
    pub(super) reads: Vec<&'a str>,
}

impl Security {
    /// The policies that are asked of a command of a role; `is`: the role, and those that it is a
    /// member of.
    pub(super) fn asked<'a>(
        &'a self,
        is: &'a dyn Fn(u32) -> bool,
        command: For,
    ) -> impl Iterator<Item = &'a Policy> {
        self.policies.iter().filter(move |policy| {
            let meant = policy.command == For::All || policy.command == command;
            meant && policy.roles.iter().any(|of| *of == PUBLIC || is(*of))
        })
    }

    /// What a row has to fulfil for all of these. Where no policy lets a row pass none does.
    pub(super) fn clause<'a>(&'a self, is: &'a dyn Fn(u32) -> bool, all: &[Asked]) -> Clause<'a> {
        let mut out = Clause { text: String::new(), parts: Vec::new(), reads: Vec::new() };
        let mut texts: Vec<String> = Vec::new();
        for asked in all {
            let (mut some, mut every) = (Vec::new(), Vec::new());
            let (command, written) = match asked {
                Asked::Seen(command) => (*command, false),
                Asked::Written(command) => (*command, true),
            };
            for policy in self.asked(is, command) {
                let text = if written { policy.written() } else { policy.seen() };
                let Some(text) = text else { continue };
                out.parts.push(text);
                out.reads.extend(policy.reads.iter().map(String::as_str));
                let list = if policy.restrictive { &mut every } else { &mut some };
                list.push(format!("({text})"));
            }
            let some = if some.is_empty() { "false".to_string() } else { some.join(" OR ") };
            for text in std::iter::once(format!("({some})")).chain(every) {
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        out.text = texts.join(" AND ");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(command: For, restrictive: bool, role: u32, texts: (&str, &str)) -> Policy {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        Policy {
            number: 1,
            name: String::new(),
            command,
            restrictive,
            roles: vec![role],
            using: some(texts.0),
            check: some(texts.1),
            reads: vec![format!("r{role}")],
        }
    }

    #[test]
    fn conditions_are_put_together() {
        use Asked::{Seen, Written};
        let policies = vec![
            policy(For::All, false, PUBLIC, ("a", "")),
            policy(For::Select, false, 5, ("b", "")),
            policy(For::Update, false, 5, ("c", "d")),
            policy(For::Insert, false, 6, ("", "e")),
            policy(For::All, true, 7, ("f", "g")),
        ];
        let security = Security { enabled: true, policies };
        let update = [Seen(For::Select), Seen(For::Update)];
        for (role, asked, text) in [
            (1, &[Seen(For::Select)][..], "((a))"),
            (5, &[Seen(For::Select)], "((a) OR (b))"),
            (1, &update, "((a))"),
            (5, &update, "((a) OR (b)) AND ((a) OR (c))"),
            (5, &[Written(For::Update)], "((a) OR (d))"),
            (6, &[Written(For::Insert)], "((a) OR (e))"),
            (7, &[Written(For::Insert)], "((a)) AND (g)"),
            (7, &[Seen(For::Delete)], "((a)) AND (f)"),
        ] {
            assert_eq!(security.clause(&|of| of == role, asked).text, text, "{role} {asked:?}");
        }
        let bare = Security { enabled: true, policies: security.policies[2..].to_vec() };
        for (role, text) in [(5, "(false)"), (7, "(false) AND (g)"), (6, "((e))")] {
            assert_eq!(bare.clause(&|of| of == role, &[Written(For::Insert)]).text, text);
        }
        assert_eq!(bare.clause(&|of| of == 6, &[Written(For::Insert)]).reads, ["r6"]);
    }
}

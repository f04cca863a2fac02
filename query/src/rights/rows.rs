//! Rights as rows of the row store: JSON with a version, unknown fields refused. README.md,
//! "Rights", is the text.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tsdb::rows::{RowChange, RowCommand};
use tsdb::{Command, Snapshot};

use super::acl::{Acl, Item};
use super::member::{Member, Members};
use super::security::For;
use super::{Object, PUBLIC_SCHEMA, Policy, Rights, Security};
use crate::counted::{self, Counts, encode};
use crate::error::{QueryError, QueryResult};

/// Owners and rights.
pub(super) const SPACE_RIGHTS: u16 = 24;
/// Row-level security.
pub(super) const SPACE_POLICIES: u16 = 25;
/// First byte of the keys of members; the number of their role follows, big-endian.
const MEMBERS_KEY: u8 = b'm';
/// The version of all these rows but those of policies.
const VERSION: u32 = 1;
/// Of policies; those of 1 have a `using` each, and are for ALL or SELECT.
const SECURITY_VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AclRow {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<u32>,
    grants: Vec<GrantRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRow {
    to: u32,
    by: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    column: u32,
    rights: String,
}

fn is_zero(column: &u32) -> bool {
    *column == 0
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersRow {
    v: u32,
    members: Vec<MemberRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberRow {
    to: u32,
    by: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    admin: bool,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecurityRow {
    v: u32,
    enabled: bool,
    policies: Vec<PolicyRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRow {
    number: u32,
    name: String,
    /// `ALL`, `SELECT`, `INSERT`, `UPDATE` or `DELETE`.
    command: String,
    #[serde(default, skip_serializing_if = "is_false")]
    restrictive: bool,
    roles: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    using: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    /// Keys of the tables that the expression reads.
    reads: Vec<String>,
}

/// The row that counts changes of both spaces.
pub(super) fn meta(snapshot: &Snapshot) -> QueryResult<Option<Vec<u8>>> {
    counted::read(snapshot, SPACE_RIGHTS)
}

/// Whether any table of a snapshot has row-level security.
pub(super) fn has_policies(snapshot: &Snapshot) -> QueryResult<bool> {
    Ok(!snapshot.rows().scan_from(SPACE_POLICIES, &[], 1)?.is_empty())
}

/// All rights of a snapshot, whose counting row was read before.
pub(super) fn read(snapshot: &Snapshot, meta: Option<Vec<u8>>) -> QueryResult<Rights> {
    let Some(bytes) = &meta else { return Ok(Rights::default()) };
    let counts = Counts::decode(bytes, damaged)?;
    let (mut acls, mut security, mut of) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (key, value) in snapshot.rows().scan(SPACE_RIGHTS, &[])? {
        if let Some(role) = role_of(&key) {
            of.insert(role, members(&value)?);
        } else if key != counted::KEY {
            acls.insert(object(&key)?, acl(&value)?);
        }
    }
    for (key, value) in snapshot.rows().scan(SPACE_POLICIES, &[])? {
        security.insert(object(&key)?, secured(&value)?);
    }
    let members = Members::new(of);
    Ok(Rights { revision: counts.revision, next: counts.next, meta, acls, security, members })
}

/// The role of a key of members.
fn role_of(key: &[u8]) -> Option<u32> {
    let number = key.strip_prefix(&[MEMBERS_KEY])?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

fn members(value: &[u8]) -> QueryResult<Vec<Member>> {
    let row: MembersRow = decode(value)?;
    check_version(row.v)?;
    let member = |MemberRow { to, by, admin }: MemberRow| Member { to, by, admin };
    Ok(row.members.into_iter().map(member).collect())
}

/// The row of a role's members; one without members is none.
pub(super) fn put_members(role: u32, members: &[Member]) -> QueryResult<RowChange> {
    let (space, key) = (SPACE_RIGHTS, [&[MEMBERS_KEY][..], &role.to_be_bytes()].concat());
    if members.is_empty() {
        return Ok(RowChange::Delete { space, key });
    }
    let member = |of: &Member| MemberRow { to: of.to, by: of.by, admin: of.admin };
    let members = members.iter().map(member).collect();
    Ok(RowChange::Put { space, key, value: encode(&MembersRow { v: VERSION, members })? })
}

fn object(key: &[u8]) -> QueryResult<Object> {
    Object::of_key(key).ok_or_else(|| damaged("its key".into()))
}

fn acl(value: &[u8]) -> QueryResult<Acl> {
    let row: AclRow = decode(value)?;
    check_version(row.v)?;
    let item = |grant: GrantRow| {
        let letters = Item::read_letters(&grant.rights);
        let (rights, grantable) = letters.ok_or_else(|| damaged(format!("{:?}", grant.rights)))?;
        let GrantRow { to, by, column, .. } = grant;
        Ok(Item { to, by, column, rights, grantable })
    };
    let items = row.grants.into_iter().map(item).collect::<QueryResult<_>>()?;
    Ok(Acl { owner: row.owner, items })
}

fn secured(value: &[u8]) -> QueryResult<Security> {
    let row: SecurityRow = decode(value)?;
    if !(VERSION..=SECURITY_VERSION).contains(&row.v) {
        return Err(damaged(format!("version {}", row.v)));
    }
    let policy = |policy: PolicyRow| {
        let PolicyRow { number, name, command, restrictive, roles, using, check, reads } = policy;
        let unknown = || damaged(format!("a policy for {command:?}"));
        let command = For::of_word(&command).ok_or_else(unknown)?;
        Ok(Policy { number, name, command, restrictive, roles, using, check, reads })
    };
    let policies = row.policies.into_iter().map(policy).collect::<QueryResult<_>>()?;
    Ok(Security { enabled: row.enabled, policies })
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> QueryResult<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))
}

fn check_version(version: u32) -> QueryResult<()> {
    match version {
        VERSION => Ok(()),
        other => Err(damaged(format!("version {other}"))),
    }
}

fn damaged(what: String) -> QueryError {
    QueryError::new("XX001", format!("a row of rights cannot be read: {what}"))
}

/// The row of an object's rights; one that says nothing is none.
pub(super) fn put_acl(object: Object, acl: &Acl) -> QueryResult<RowChange> {
    let (space, key) = (SPACE_RIGHTS, object.key());
    // Schema `public` without a row has the rights that are usual.
    if acl.owner.is_none() && acl.items.is_empty() && object != PUBLIC_SCHEMA {
        return Ok(RowChange::Delete { space, key });
    }
    let grant = |item: &Item| GrantRow {
        to: item.to,
        by: item.by,
        column: item.column,
        rights: item.letters(),
    };
    let grants = acl.items.iter().map(grant).collect();
    let value = encode(&AclRow { v: VERSION, owner: acl.owner, grants })?;
    Ok(RowChange::Put { space, key, value })
}

/// The row of a table's row-level security; likewise.
pub(super) fn put_security(object: Object, security: &Security) -> QueryResult<RowChange> {
    let (space, key) = (SPACE_POLICIES, object.key());
    if !security.enabled && security.policies.is_empty() {
        return Ok(RowChange::Delete { space, key });
    }
    let policy = |policy: &Policy| PolicyRow {
        number: policy.number,
        name: policy.name.clone(),
        command: policy.command.word().into(),
        restrictive: policy.restrictive,
        roles: policy.roles.clone(),
        using: policy.using.clone(),
        check: policy.check.clone(),
        reads: policy.reads.clone(),
    };
    let policies = security.policies.iter().map(policy).collect();
    let value = encode(&SecurityRow { v: SECURITY_VERSION, enabled: security.enabled, policies })?;
    Ok(RowChange::Put { space, key, value })
}

/// The command that makes these changes, if no others were made since `rights` were read.
pub(super) fn command(rights: &Rights, next: u32, changes: Vec<RowChange>) -> QueryResult<Command> {
    let meta = Counts::behind(rights.revision, next).put(SPACE_RIGHTS)?;
    let expects = vec![counted::expect(SPACE_RIGHTS, rights.meta.as_ref())];
    let changes = [meta].into_iter().chain(changes).collect();
    Ok(Command::Rows(RowCommand { expects, changes }))
}

/// Keys of the rows about a relation, to go with it.
pub(super) fn keys(snapshot: &Snapshot, object: Object) -> QueryResult<Vec<(u16, Vec<u8>)>> {
    let mut found = Vec::new();
    for space in [SPACE_RIGHTS, SPACE_POLICIES] {
        let key = object.key();
        if snapshot.rows().get(space, &key)?.is_some() {
            found.push((space, key));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::acl::Mode;
    use super::*;

    fn value(change: RowChange) -> (u16, Vec<u8>, Vec<u8>) {
        match change {
            RowChange::Put { space, key, value } => (space, key, value),
            other => panic!("{other:?}"),
        }
    }

    fn check(golden: &str, read: &dyn Fn(&[u8]) -> QueryResult<()>) {
        let bytes = golden.as_bytes();
        read(bytes).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]).unwrap_err().code, "XX001");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1;
            // It may say something else; it must not panic.
            let _ = read(&flipped);
        }
        let later = golden.replacen("\"v\":1", "\"v\":3", 1).replacen("\"v\":2", "\"v\":3", 1);
        assert!(read(later.as_bytes()).unwrap_err().message.contains("version 3"));
    }

    #[test]
    fn rows_read_back_and_damage_is_told() {
        let (rights, grantable) = (Mode::SELECT.with(Mode::UPDATE), Mode::SELECT);
        let items = vec![
            Item { to: 16_384, by: 0, column: 0, rights, grantable },
            Item { to: 0, by: 16_384, column: 3, rights: Mode::SELECT, grantable: Mode::NONE },
        ];
        let given = Acl { owner: Some(16_385), items };
        let (space, key, bytes) = value(put_acl(Object::Table(7), &given).unwrap());
        assert_eq!((space, key), (24, vec![b't', 0, 0, 0, 7]));
        let golden = concat!(
            r#"{"v":1,"owner":16385,"grants":[{"to":16384,"by":0,"rights":"r*w"},"#,
            r#"{"to":0,"by":16384,"column":3,"rights":"r"}]}"#
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), golden);
        assert_eq!(acl(golden.as_bytes()).unwrap(), given);
        check(golden, &|bytes| acl(bytes).map(drop));

        let given = vec![
            Member { to: 16_384, by: 10, admin: true },
            Member { to: 16_385, by: 16_384, admin: false },
        ];
        let (space, key, bytes) = value(put_members(16_390, &given).unwrap());
        assert_eq!((space, role_of(&key)), (24, Some(16_390)));
        let golden = concat!(
            r#"{"v":1,"members":[{"to":16384,"by":10,"admin":true},"#,
            r#"{"to":16385,"by":16384}]}"#
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), golden);
        assert_eq!(members(golden.as_bytes()).unwrap(), given);
        check(golden, &|bytes| members(bytes).map(drop));

        let policy = Policy {
            number: 4,
            name: "scope".into(),
            command: For::Select,
            restrictive: false,
            roles: vec![0],
            using: Some("site = current_user".into()),
            check: None,
            reads: vec!["r5".into()],
        };
        let before = Security { enabled: true, policies: vec![policy.clone()] };
        let golden = concat!(
            r#"{"v":1,"enabled":true,"policies":[{"number":4,"name":"scope","command":"SELECT","#,
            r#""roles":[0],"using":"site = current_user","reads":["r5"]}]}"#
        );
        assert_eq!(secured(golden.as_bytes()).unwrap(), before);
        check(golden, &|bytes| secured(bytes).map(drop));

        let written = Policy {
            number: 5,
            name: "w".into(),
            command: For::Insert,
            restrictive: true,
            roles: vec![16_384],
            using: None,
            check: Some("site = 'a'".into()),
            reads: Vec::new(),
        };
        let given = Security { enabled: true, policies: vec![policy, written] };
        let (space, key, bytes) = value(put_security(Object::Relational(7), &given).unwrap());
        assert_eq!((space, key), (25, vec![b'r', 0, 0, 0, 7]));
        let golden = concat!(
            r#"{"v":2,"enabled":true,"policies":[{"number":4,"name":"scope","command":"SELECT","#,
            r#""roles":[0],"using":"site = current_user","reads":["r5"]},"#,
            r#"{"number":5,"name":"w","command":"INSERT","restrictive":true,"roles":[16384],"#,
            r#""check":"site = 'a'","reads":[]}]}"#
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), golden);
        assert_eq!(secured(golden.as_bytes()).unwrap(), given);
        check(golden, &|bytes| secured(bytes).map(drop));
    }
}

//! The three steps that Redis does whole, as scripts: what Kamailio sends as five or six commands, with the same end state.
//!
//! A map is a set. Later Kamailios can keep it as a hash (pull request 4306); both are taken.

use crate::layout::Layout;
use crate::record::{COLUMNS, NULLABLE};

/// Which of the three steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The rows of an address of record. Key: its set. Gives one list of values for each, in the order of [`COLUMNS`].
    Look,
    /// Writes a row. Key: its entry. Arguments: `1` when the newer of two rows stands, else `0`; then fields and values. Gives 1; 0 when
    /// the row that is there stands.
    Put,
    /// Removes a row. Key: its entry. Arguments: Call-ID and CSeq of the row that is meant; then a time: only when it ends before that, or
    /// nothing. Gives 1; 0 when there is none, or a newer one.
    Remove,
}

/// All steps, by their index.
pub const ALL: [Script; 3] = [Script::Look, Script::Put, Script::Remove];

/// Members of a set that are looked at. A user has ten contacts of ours; a set with many more is no user's.
const MEMBERS: usize = 64;

impl Script {
    /// The place of this step among [`ALL`].
    pub fn index(self) -> usize {
        match self {
            Script::Look => 0,
            Script::Put => 1,
            Script::Remove => 2,
        }
    }

    /// Its text in Lua for the keys of a layout.
    pub fn text(self, layout: &Layout) -> String {
        match self {
            Script::Look => look(layout),
            Script::Put => put(layout),
            Script::Remove => remove(layout),
        }
    }
}

fn quoted(words: &[impl AsRef<str>]) -> String {
    words.iter().map(|w| format!("'{}'", w.as_ref())).collect::<Vec<_>>().join(",")
}

fn look(layout: &Layout) -> String {
    let (columns, table) = (quoted(&COLUMNS), layout.table());
    format!(
        "local k=KEYS[1]
local t=redis.call('TYPE',k).ok
local m={{}}
if t=='set' then
  if redis.call('SCARD',k)>{MEMBERS} then m=redis.call('SRANDMEMBER',k,{MEMBERS}) else m=redis.call('SMEMBERS',k) end
elseif t=='hash' and redis.call('HLEN',k)<={MEMBERS} then m=redis.call('HKEYS',k) end
local out={{}}
local head='{table}:entry::'
for _,e in ipairs(m) do
  if string.sub(e,1,#head)==head and redis.call('TYPE',e).ok=='hash' then out[#out+1]=redis.call('HMGET',e,{columns}) end
end
return out"
    )
}

/// Functions that both writers need: the sets of a row, and how it enters and leaves them.
fn common(layout: &Layout) -> String {
    let table = layout.table();
    let maps: Vec<String> =
        layout.maps().iter().map(|(name, columns)| format!("{{'{name}',{}}}", quoted(columns))).collect();
    format!(
        "local maps={{{}}}
local function sets(e)
  local out={{}}
  for i,m in ipairs(maps) do
    local v=redis.call('HMGET',e,unpack(m,2))
    for j=1,#v do v[j]=v[j] or '' end
    out[i]='{table}:'..m[1]..'::'..table.concat(v,':')
  end
  return out
end
local function is_hash(k) return redis.call('TYPE',k).ok=='hash' end
local function enter(i,k,e)
  if is_hash(k) then redis.call('HSET',k,e,'1') else redis.call('SADD',k,e) end
  local n='{table}::index::'..maps[i][1]
  if is_hash(n) then redis.call('HSET',n,k,'1') else redis.call('SADD',n,k) end
end
local function leave(i,k,e)
  if is_hash(k) then redis.call('HDEL',k,e) else redis.call('SREM',k,e) end
  if redis.call('EXISTS',k)==0 then
    local n='{table}::index::'..maps[i][1]
    if is_hash(n) then redis.call('HDEL',n,k) else redis.call('SREM',n,k) end
  end
end
",
        maps.join(",")
    )
}

fn put(layout: &Layout) -> String {
    format!(
        "{}local e=KEYS[1]
local new={{}}
for i=2,#ARGV,2 do new[ARGV[i]]=ARGV[i+1] end
local old=redis.call('HMGET',e,'callid','cseq','last_modified')
local before={{}}
if redis.call('EXISTS',e)==1 then
  if old[1]==new.callid then
    if (tonumber(old[2] or '') or 0)>tonumber(new.cseq) then return 0 end
  elseif ARGV[1]=='1' and old[3] and old[3]>=new.last_modified then return 0 end
  before=sets(e)
  for _,c in ipairs({{{}}}) do if not new[c] then redis.call('HDEL',e,c) end end
end
redis.call('HSET',e,unpack(ARGV,2))
local after=sets(e)
for i,k in ipairs(after) do
  if before[i] and before[i]~=k then leave(i,before[i],e) end
  enter(i,k,e)
end
return 1",
        common(layout),
        quoted(&NULLABLE)
    )
}

fn remove(layout: &Layout) -> String {
    format!(
        "{}local e=KEYS[1]
if redis.call('EXISTS',e)==0 then return 0 end
local old=redis.call('HMGET',e,'callid','cseq','expires')
if old[1]==ARGV[1] and (tonumber(old[2] or '') or 0)>tonumber(ARGV[2]) then return 0 end
if ARGV[3]~='' and old[3] and (old[3]>ARGV[3] or old[3]=='1970-01-01 00:00:00') then return 0 end
local before=sets(e)
redis.call('DEL',e)
for i,k in ipairs(before) do leave(i,k,e) end
return 1",
        common(layout)
    )
}

// Usage and balance: the billing accounts, what is free on them, and each posting.
import { Stack, Text } from '@mantine/core';
import { Answered, Fields, Go, List, money, Page, Part, State, useUrl, When, words, type Column } from '@warp/kit';
import { useQuery } from '@tanstack/react-query';
import { api, type Of } from '../api.ts';

type Posting = Of<'Posting'>;
const columns: Column<Posting>[] = [
  { head: 'When', cell: (p) => <When at={p.created_at} />, text: (p) => p.created_at, width: 'minmax(175px, 1fr)', narrow: true },
  { head: 'Kind', cell: (p) => words(p.kind), text: (p) => p.kind },
  { head: 'Amount', cell: (p) => money(p.amount), text: (p) => p.amount.amount, right: true, narrow: true, width: 'minmax(130px, 1fr)' },
  { head: 'Calls', cell: (p) => p.calls ?? '–', text: (p) => String(p.calls ?? ''), right: true },
  { head: 'Why', cell: (p) => p.reason || '–', text: (p) => p.reason, width: 'minmax(160px, 2fr)' },
];

function Account({ ban }: { ban: Of<'Ban'> }) {
  const balance = useQuery({
    queryKey: ['balance', ban.id], refetchInterval: 5_000,
    queryFn: () => api.get('/api/v1/bans/{ban_id}/balance', { params: { ban_id: ban.id } }),
  });
  return (
    <Part title={ban.name} actions={<Go to="/billing" search={{ ban: ban.id }}>Its postings</Go>}>
      <Answered query={balance}>{({ data }) => {
        const b = data as Of<'Balance'>;
        const empty = b.free ? b.free.amount.startsWith('-') || Number(b.free.amount) === 0 : false;
        return <Fields of={[
          ['Kind', b.mode], ['Balance', money(b.balance)], ['Held by calls', money(b.held)], ['Credit limit', money(b.credit_limit)],
          ['Free', <State key="f" kind={empty ? 'bad' : 'good'}>{b.free ? money(b.free) : 'no limit'}</State>], ['Alarm below', money(ban.low_balance)],
        ]} />;
      }}</Answered>
    </Part>
  );
}

export function Billing() {
  const [url] = useUrl();
  const bans = useQuery({ queryKey: ['bans'], queryFn: () => api.get('/api/v1/bans', { query: { limit: 100 } }) });
  const customer = useQuery({ queryKey: ['customer'], queryFn: () => api.get('/api/v1/customer') });
  return (
    <Page title="Usage and balance">
      <Answered query={customer}>{({ data }) => {
        const c = data as Of<'Customer'>;
        return <Part title="Limits"><Fields of={[['Most a day', money(c.daily_spend)], ['Most a minute', money(c.max_rate_per_min)], ['Channels', c.channels ?? '–'], ['Calls per second', c.cps ?? '–'], ['Currency', c.currency]]} /></Part>;
      }}</Answered>
      <Answered query={bans}>{({ data }) => <Stack>{(data as Of<'Ban'>[]).map((b) => <Account key={b.id} ban={b} />)}</Stack>}</Answered>
      <Part title={url.ban ? 'Postings of one account' : 'Postings'}>
        <List path="/api/v1/ledger" label="Postings" columns={columns} filters={[{ name: 'ban', label: 'Account' }]} idOf={(p) => p.id} empty={<Text>Nothing was posted yet.</Text>} />
      </Part>
    </Page>
  );
}

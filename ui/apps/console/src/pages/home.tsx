// What is going on: the last calls in figures, trunks, money, and what went wrong in words.
import { SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { Answered, duration, Go, money, number, Outcome, Page, Part, Plain, State, useMay, When, why } from '@warp/kit';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { api, type Of } from '../api.ts';

function Tile({ label, value, to, search, hint }: { label: string; value: ReactNode; to: string; search?: Record<string, string>; hint: string }) {
  return (
    <Part title={label}>
      <Title order={3} size="h2" fw={600}><Go to={to} search={search}>{value}</Go></Title>
      <Text size="sm" c="dimmed">{hint}</Text>
    </Part>
  );
}

/** The median; `null` of nothing. */
function median(of: number[]): number | null {
  const sorted = [...of].sort((a, b) => a - b);
  return sorted.length ? (sorted[Math.floor(sorted.length / 2)] ?? null) : null;
}

/** The figures of these calls. */
function figures(calls: Of<'ListedCall'>[]) {
  const answered = calls.filter((c) => c.outcome === 'answered');
  // Network effectiveness (ITU-T E.425): that somebody was busy or away is no fault of a network.
  const reached = calls.filter((c) => c.outcome !== 'failed' && c.outcome !== 'rejected');
  const share = (n: number) => (calls.length ? `${((100 * n) / calls.length).toFixed(1)} %` : '–');
  return {
    asr: share(answered.length),
    ner: share(reached.length),
    acd: answered.length ? duration(Math.round(answered.reduce((sum, c) => sum + c.duration_ms, 0) / answered.length)) : '–',
    pdd: median(calls.flatMap((c) => (typeof c.pdd_ms === 'number' ? [c.pdd_ms] : []))),
  };
}

export function Home() {
  const [mayCalls, mayTrunks, mayMoney] = [useMay('calls:read'), useMay('trunks:read'), useMay('ledger:read')];
  const customer = useQuery({ queryKey: ['customer'], queryFn: () => api.get('/api/v1/customer') });
  const calls = useQuery({
    queryKey: ['calls', 'last'], enabled: mayCalls, refetchInterval: 3_000,
    queryFn: () => api.get('/api/v1/calls', { query: { limit: 200, expand: 'legs' } }),
  });
  const trunks = useQuery({ queryKey: ['trunks', 'first'], enabled: mayTrunks, queryFn: () => api.get('/api/v1/trunks', { query: { limit: 20 } }) });
  const bans = useQuery({ queryKey: ['bans', 'first'], enabled: mayMoney, queryFn: () => api.get('/api/v1/bans', { query: { limit: 20 } }) });
  return (
    <Page title={customer.data ? (customer.data.data as Of<'Customer'>).name : 'Home'}>
      {mayCalls && (
        <Answered query={calls}>{({ data }) => {
          const all = data as Of<'ListedCall'>[];
          if (all.length === 0) {
            return <Part title="No call yet"><Text>Make a <Go to="/trunks">trunk</Go>, give it your PBX’s address, and try a number in the <Go to="/route">route tester</Go>.</Text></Part>;
          }
          const f = figures(all);
          const since = all.at(-1)!.setup_at;
          const broken = all.filter((c) => c.outcome === 'failed' || c.outcome === 'rejected').slice(0, 6);
          return (
            <Stack>
              <Text c="dimmed" size="sm">Of the last {all.length} calls, since <When at={since} />.</Text>
              <SimpleGrid cols={{ base: 2, sm: 4 }}>
                <Tile label="Answered (ASR)" value={f.asr} to="/calls" search={{ outcome: 'answered' }} hint="of all calls" />
                <Tile label="Reached (NER)" value={f.ner} to="/calls" search={{ outcome: 'failed' }} hint="without a fault of a network; opens the failed ones" />
                <Tile label="Length (ACD)" value={f.acd} to="/calls" search={{ outcome: 'answered' }} hint="mean of answered calls" />
                <Tile label="Ringing delay (PDD)" value={f.pdd === null ? '–' : duration(f.pdd)} to="/calls" hint="median" />
              </SimpleGrid>
              <Part title="Newest problems">
                {broken.length === 0 ? <Text>None.</Text> : (
                  <Plain label="Newest problems" head={['When', 'Call', 'What happened']} rows={broken.map((c) => [
                    <When key="w" at={c.setup_at} />, <Go key="c" to={`/calls/${c.id}`}>{number(c.called_e164 ?? c.called)}</Go>, why(c as never, (c as { legs?: never[] }).legs ?? []),
                  ])} />
                )}
              </Part>
              <Part title="Newest calls">
                <Plain label="Newest calls" head={['When', 'Caller', 'Called', 'Outcome', 'Duration', 'Price']} rows={all.slice(0, 8).map((c) => [
                  <When key="w" at={c.setup_at} />, number(c.caller_e164 ?? c.caller), <Go key="c" to={`/calls/${c.id}`}>{number(c.called_e164 ?? c.called)}</Go>,
                  <Outcome key="o" call={c} />, duration(c.duration_ms), money(c.price),
                ])} />
              </Part>
            </Stack>
          );
        }}</Answered>
      )}
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {mayTrunks && (
          <Part title="Trunks">
            <Answered query={trunks}>{({ data }) => (
              <Plain label="Trunks" head={['Trunk', 'State', 'Channels']} rows={(data as Of<'Trunk'>[]).map((t) => [
                <Go key="t" to={`/trunks/${t.id}`}>{t.name}</Go>, <State key="s" kind={t.status === 'active' ? 'good' : 'off'}>{t.status}</State>, t.channels ?? 'as the customer',
              ])} />
            )}</Answered>
          </Part>
        )}
        {mayMoney && (
          <Part title="Money">
            <Answered query={bans}>{({ data }) => (
              <Plain label="Billing accounts" head={['Account', 'Kind']} rows={(data as Of<'Ban'>[]).map((b) => [<Go key="b" to="/billing">{b.name}</Go>, b.mode])} />
            )}</Answered>
          </Part>
        )}
      </SimpleGrid>
    </Page>
  );
}

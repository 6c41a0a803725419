// Numbers: what we have given this customer, and where each one leads.
import { Code, Text } from '@mantine/core';
import { AsCurl, Answered, Copied, Fields, FormButton, Go, List, number, Page, Part, Plain, State, useMay, words, type Column } from '@warp/kit';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { api, type Of } from '../api.ts';

type Num = Of<'Number'>;
const columns: Column<Num>[] = [
  { head: 'Number', cell: (n) => number(n.number), text: (n) => n.number, narrow: true, width: 'minmax(160px, 1fr)' },
  { head: 'State', cell: (n) => <State kind={n.state === 'assigned' ? 'good' : 'off'}>{words(n.state)}</State>, text: (n) => n.state, narrow: true },
  { head: 'Leads to', cell: (n) => (n.targets.length ? `${n.targets.length} trunk${n.targets.length > 1 ? 's' : ''}` : <State kind="warn">nowhere</State>), text: (n) => n.targets.map((t) => t.trunk_id).join(' ') },
  { head: 'CNAM', cell: (n) => n.cnam ?? '–', text: (n) => n.cnam ?? '' },
];

export function Numbers() {
  return (
    <Page title="Numbers">
      <List path="/api/v1/numbers" label="Numbers" columns={columns} filters={[{ name: 'number', label: 'Number' }]} idOf={(n) => n.id} open={(n) => `/numbers/${n.id}`}
        empty={<Text>You have no number yet. Your carrier gives you some; then you choose here where their calls go.</Text>} />
    </Page>
  );
}

export function NumberPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { number_id: id } };
  const queries = useQueryClient();
  const may = useMay('numbers:write');
  const found = useQuery({ queryKey: ['number', id], queryFn: () => api.get('/api/v1/numbers/{number_id}', at) });
  const trunks = useQuery({ queryKey: ['trunks', 'all'], queryFn: () => api.get('/api/v1/trunks', { query: { limit: 200 } }) });
  const list = (trunks.data?.data ?? []) as Of<'Trunk'>[];
  const named = (trunk: string) => list.find((t) => t.id === trunk)?.name ?? trunk;
  return (
    <Answered query={found}>{({ data }) => {
      const n = data as Num;
      const save = async (v: Record<string, unknown>) => {
        const ids = [v.first, v.second].filter(Boolean) as string[];
        const targets = ids.map((trunk_id, priority) => ({ trunk_id, priority }));
        await api.patch('/api/v1/numbers/{number_id}', { targets, cnam: v.cnam } as never, { ...at, version: n.version });
        await queries.invalidateQueries({ queryKey: ['number', id] });
      };
      const choices = list.map((t) => ({ value: t.id, label: t.name }));
      return (
        <Page title={number(n.number)} actions={<>
          {may && <FormButton label="Where it leads" title={`Where ${number(n.number)} leads`} submit={save}
            initial={{ first: n.targets[0]?.trunk_id, second: n.targets[1]?.trunk_id, cnam: n.cnam }}
            fields={[{ name: 'first', label: 'First', kind: 'choice', choices }, { name: 'second', label: 'When the first one cannot', kind: 'choice', choices }, { name: 'cnam', label: 'Name that is shown (CNAM)' }]} />}
          <AsCurl path="/api/v1/numbers/{number_id}" options={at} />
        </>}>
          <Part title="Number" actions={<Go to="/calls" search={{ called: n.number }}>Its calls</Go>}>
            <Fields of={[
              ['Number', <Copied key="n" text={n.number} shown={number(n.number)} />], ['State', words(n.state)], ['CNAM', n.cnam ?? '–'],
              ['Emergency address', n.e911_address ?? '–'], ['Id', <Code key="i">{n.id}</Code>], ['Version', n.version],
            ]} />
          </Part>
          <Part title="Where it leads">
            {n.targets.length === 0 ? <Text>Nowhere: its calls are refused.</Text> : (
              <Plain label="Targets" head={['Order', 'Trunk', 'Weight']} rows={n.targets.map((t) => [t.priority, <Go key="t" to={`/trunks/${t.trunk_id}`}>{named(t.trunk_id)}</Go>, t.weight])} />
            )}
          </Part>
        </Page>
      );
    }}</Answered>
  );
}

// The route tester: where a call would go, at what price, and why not elsewhere. Nothing is dialled.
import { Button, Group, Select, Stack, TextInput } from '@mantine/core';
import { AsCurl, Answered, Decision, Failed, Page, Part, useUrl } from '@warp/kit';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { api, type Of } from '../api.ts';

export function RouteTester() {
  const [url, setUrl] = useUrl();
  const [form, setForm] = useState({ to: url.to ?? '', from: url.from ?? '', trunk_id: url.trunk ?? '', at: url.at ?? '' });
  const trunks = useQuery({ queryKey: ['trunks', 'all'], queryFn: () => api.get('/api/v1/trunks', { query: { limit: 200 } }) });
  const body = { to: form.to, trunk_id: form.trunk_id, ...(form.from ? { from: form.from } : {}), ...(form.at ? { at: new Date(form.at).toISOString() } : {}) };
  const ask = useMutation({ mutationFn: () => api.post('/api/v1/route', body as never) });
  const first = (trunks.data?.data as Of<'Trunk'>[] | undefined)?.[0]?.id;
  useEffect(() => {
    if (!form.trunk_id && first) setForm((f) => ({ ...f, trunk_id: first }));
  }, [first, form.trunk_id]);
  const set = (name: string) => (value: string | null) => setForm((f) => ({ ...f, [name]: value ?? '' }));
  return (
    <Page title="Route tester" actions={<AsCurl path="/api/v1/route" method="POST" body={body} />}>
      <Part title="A call to think through">
        <form onSubmit={(e) => { e.preventDefault(); setUrl({ to: form.to, from: form.from, trunk: form.trunk_id, at: form.at }); ask.mutate(); }}>
          <Group align="flex-end">
            <TextInput label="To" required value={form.to} onChange={(e) => set('to')(e.currentTarget.value)} placeholder="+442071234567" />
            <TextInput label="From" value={form.from} onChange={(e) => set('from')(e.currentTarget.value)} placeholder="+12025550100" />
            <Answered query={trunks}>{({ data }) => (
              <Select label="Trunk" required value={form.trunk_id} onChange={set('trunk_id')} data={(data as Of<'Trunk'>[]).map((t) => ({ value: t.id, label: t.name }))} />
            )}</Answered>
            <TextInput label="What if at" type="datetime-local" value={form.at} onChange={(e) => set('at')(e.currentTarget.value)} />
            <Button type="submit" loading={ask.isPending}>Where would it go?</Button>
          </Group>
        </form>
      </Part>
      <Stack aria-live="polite">
        {ask.isError && <Failed why={ask.error} />}
        {ask.data && <Part title="Decision"><Decision of={(ask.data.data as Of<'RouteResult'>).decision as never} /></Part>}
      </Stack>
    </Page>
  );
}

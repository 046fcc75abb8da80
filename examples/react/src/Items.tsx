import { useEffect, useState } from "react";
import { api, describe, type Item, type Problem } from "./api";
import { ItemForm, type ItemFields } from "./ItemForm";

export function Items({ onSignedOut }: { onSignedOut: () => void }) {
  const [items, setItems] = useState<Item[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [edited, setEdited] = useState<Item>();
  const [error, setError] = useState("");

  function fail(response: Response, problem: Problem) {
    if (response.status === 401) onSignedOut();
    else setError(describe(problem));
  }

  async function load(cursor?: string) {
    const query = { limit: 20, sort: "-id" as const, cursor };
    const { data, error, response } = await api.GET("/api/v1/items", { params: { query } });
    if (error) return fail(response, error);
    setItems((shown) => (cursor ? [...shown, ...data.results] : data.results));
    setNext(data.next);
  }

  useEffect(() => {
    void load();
  }, []);

  async function create(fields: ItemFields) {
    const { data, error, response } = await api.POST("/api/v1/items", { body: fields });
    if (error) return fail(response, error);
    setItems((shown) => [data, ...shown]);
    setError("");
  }

  async function save(item: Item, fields: ItemFields) {
    const { data, error, response } = await api.PATCH("/api/v1/items/{item_id}", {
      params: {
        path: { item_id: item.id },
        // Somebody else may have changed the item since it was loaded.
        header: { "If-Match": `"${item.version}"` },
      },
      body: fields,
    });
    if (response.status === 412) {
      setError("The item was changed in the meantime. Here is how it is now.");
      setEdited(undefined);
      return load();
    }
    if (error) return fail(response, error);
    setItems((shown) => shown.map((each) => (each.id === data.id ? data : each)));
    setEdited(undefined);
    setError("");
  }

  return (
    <main>
      <h1>Items</h1>
      {error && <p role="alert">{error}</p>}
      <ItemForm label="Create" onSend={create} />
      <ul>
        {items.map((item) => (
          <li key={item.id}>
            {edited?.id === item.id ? (
              <ItemForm label="Save" item={edited} onSend={(fields) => save(edited, fields)} />
            ) : (
              <>
                <span>{item.name}</span>
                <span>{item.price}</span>
                <button onClick={() => setEdited(item)} aria-label={`Edit ${item.name}`}>
                  Edit
                </button>
              </>
            )}
          </li>
        ))}
      </ul>
      {next && <button onClick={() => load(next)}>Show more</button>}
    </main>
  );
}

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // The path of the server, with its ROOT_PATH; "/" where its pages are deleted.
  base: "/app/",
  plugins: [react()],
  // For `npm run dev`: the browser takes both for one site.
  server: { proxy: { "/api": { target: "http://127.0.0.1:8000", ws: true } } },
});
